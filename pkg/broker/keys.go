package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// keyPatience is how long the write of a key is tried: longer than a cluster takes to
// elect.
const keyPatience = 30 * time.Second

// WriteKey writes a key of a bucket on condition that its newest revision is the one
// given; 0 means that the key is not there, or was removed. It returns the new revision.
// The error is [ErrFenced] when the key has another.
//
// It is what a bucket's own Create and Update would be if the answer always came: an
// attempt whose outcome is unknown, because a server was lost, is repeated, for half a
// minute, and counts once.
func (b *Broker) WriteKey(ctx context.Context, bucket, key string, value []byte, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	if revision == 0 {
		e, err := b.getLast(ctx, "KV_"+bucket, keySubject(bucket, key))
		switch {
		case errors.Is(err, ErrGone):
		case err != nil:
			return 0, fmt.Errorf("write %s of bucket %s: %w", key, bucket, err)
		case !e.Removed():
			return 0, fmt.Errorf("write %s of bucket %s: %w", key, bucket, ErrFenced)
		default:
			revision = e.Sequence
		}
	}
	next, err := b.putKey(ctx, bucket, key, value, expecting(revision), writeTimeout)
	if err != nil {
		return 0, fmt.Errorf("write %s of bucket %s: %w", key, bucket, err)
	}
	return next, nil
}

// PutKey writes a key of a bucket whatever is there, and returns the new revision. Like
// [Broker.WriteKey] it is repeated while the outcome is unknown, for half a minute.
func (b *Broker) PutKey(ctx context.Context, bucket, key string, value []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	revision, err := b.putKey(ctx, bucket, key, value, nats.Header{}, writeTimeout)
	if err != nil {
		return 0, fmt.Errorf("write %s of bucket %s: %w", key, bucket, err)
	}
	return revision, nil
}

// expecting is the header of an entry that is written on condition that the key's newest
// one has the given revision.
func expecting(revision uint64) nats.Header {
	return nats.Header{jetstream.ExpectedLastSubjSeqHeader: {formatUint(revision)}}
}

func keySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// putKey writes an entry of a bucket and repeats it while the outcome is unknown; patience is
// for one attempt. The entry's id makes a repetition count as the first.
func (b *Broker) putKey(ctx context.Context, bucket, key string, value []byte, header nats.Header, patience time.Duration) (uint64, error) {
	header.Set(jetstream.MsgIDHeader, nuid.Next())
	m := &nats.Msg{Subject: keySubject(bucket, key), Header: header, Data: value}
	for retry, repeated := newBackoff(10*time.Millisecond, time.Second), false; ; repeated = true {
		sequence, err := b.publishOnce(ctx, m, patience)
		if err == nil {
			return sequence, nil
		}
		switch judge(err) {
		case verdictFenced:
			if !repeated {
				return 0, publishError(m.Subject, err)
			}
			return b.putBefore(ctx, bucket, m, err)
		case verdictNever:
			return 0, publishError(m.Subject, err)
		}
		if stop := retry.wait(ctx); stop != nil {
			return 0, errors.Join(stop, err)
		}
	}
}

// putBefore says whether a repetition was refused by the very entry that the first attempt
// wrote: a server that is no cluster compares revisions before it looks at ids.
func (b *Broker) putBefore(ctx context.Context, bucket string, m *nats.Msg, refusal error) (uint64, error) {
	e, err := b.getLast(ctx, "KV_"+bucket, m.Subject)
	switch {
	case err == nil && e.Header.Get(jetstream.MsgIDHeader) == m.Header.Get(jetstream.MsgIDHeader):
		return e.Sequence, nil
	case err == nil || errors.Is(err, ErrGone):
		return 0, publishError(m.Subject, refusal)
	}
	return 0, err
}
