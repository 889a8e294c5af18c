package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Entry is one message of a stream.
type Entry struct {
	// Sequence of the message in its stream.
	Sequence uint64
	Subject  string
	Header   nats.Header
	Data     []byte
	// Time at which the broker took it.
	Time time.Time
}

// GetBody returns the content of a message of a stream by its sequence. The
// error is [ErrGone] when it was trimmed, [ErrClaimLost] when it was large and
// its content was. While the broker is away it waits, until ctx ends. It may be
// called from several goroutines.
//
// Sequences begin anew when the broker's disk is lost: a reference from before
// may then meet another message. Whoever keeps references checks that what comes
// is what they meant.
func (b *Broker) GetBody(ctx context.Context, stream string, sequence uint64) ([]byte, error) {
	e, err := b.GetEntry(ctx, stream, sequence)
	return e.Data, err
}

// GetEntry is GetBody with the message's subject and headers.
func (b *Broker) GetEntry(ctx context.Context, stream string, sequence uint64) (Entry, error) {
	e, err := b.get(ctx, stream, sequence)
	if err != nil {
		return Entry{}, fmt.Errorf("read %s/%d: %w", stream, sequence, err)
	}
	if e, err = b.complete(ctx, e); err != nil {
		return Entry{}, fmt.Errorf("read %s/%d: %w", stream, sequence, err)
	}
	return e, nil
}

// Oldest is the sequence of the first message that a stream has, or would have if it is empty: what
// stands below it is gone.
func (b *Broker) Oldest(ctx context.Context, stream string) (sequence uint64, err error) {
	err = b.insist(ctx, func(ctx context.Context) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx)
		if err == nil {
			sequence = info.State.FirstSeq
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", stream, err)
	}
	return sequence, nil
}

// complete fetches the content of a large message.
func (b *Broker) complete(ctx context.Context, e Entry) (Entry, error) {
	data, err := b.checkOut(ctx, e.Header, e.Data)
	if err != nil {
		return Entry{}, err
	}
	e.Data, e.Header = data, withoutClaim(e.Header)
	return e, nil
}

// storedHeader drops what the broker adds to an answer, so that a message looks
// the same however it was read.
func storedHeader(h nats.Header) nats.Header {
	for _, key := range []string{
		jetstream.StreamHeader, jetstream.SequenceHeader, jetstream.TimeStampHeaer,
		jetstream.SubjectHeader, jetstream.LastSequenceHeader, "Nats-Num-Pending",
	} {
		h.Del(key)
	}
	return h
}
