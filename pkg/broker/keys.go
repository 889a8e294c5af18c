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
	next, err := b.putKey(ctx, bucket, key, value, revision, nats.Header{}, writeTimeout)
	if err != nil {
		return 0, fmt.Errorf("write %s of bucket %s: %w", key, bucket, err)
	}
	return next, nil
}

func keySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// putKey writes an entry of a bucket on condition that the key's newest one has the given
// revision, and repeats it while the outcome is unknown; patience is for one attempt. The
// id makes a repetition count as the first: it would otherwise be refused, by the very
// entry that it wrote.
func (b *Broker) putKey(ctx context.Context, bucket, key string, value []byte, revision uint64, header nats.Header, patience time.Duration) (uint64, error) {
	header.Set(jetstream.MsgIDHeader, nuid.Next())
	header.Set(jetstream.ExpectedLastSubjSeqHeader, formatUint(revision))
	m := &nats.Msg{Subject: keySubject(bucket, key), Header: header, Data: value}
	for retry := newBackoff(10*time.Millisecond, time.Second); ; {
		sequence, err := b.publishOnce(ctx, m, patience)
		if err == nil {
			return sequence, nil
		}
		if v := judge(err); v == verdictFenced || v == verdictNever {
			return 0, publishError(m.Subject, err)
		}
		if stop := retry.wait(ctx); stop != nil {
			return 0, errors.Join(stop, err)
		}
	}
}
