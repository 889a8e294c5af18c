package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"millrace/pkg/pause"
)

// eachIdle is how long [Broker.Each] waits when messages that are said to be there do not come.
const eachIdle = 50 * time.Millisecond

// Each calls do for each message of a stream under a subject, wildcards included, that is
// there when it begins, in the order of the stream. It ends with the first error that do returns.
// What is replaced or removed meanwhile may or may not come.
func (b *Broker) Each(ctx context.Context, stream, subject string, do func(Entry) error) error {
	return b.each(ctx, stream, subject, false, func(e Entry) error {
		e, err := b.complete(ctx, e)
		if errors.Is(err, ErrClaimLost) {
			return nil
		}
		if err != nil {
			return err
		}
		return do(e)
	})
}

// EachSubject is [Broker.Each] for the messages' subjects alone.
func (b *Broker) EachSubject(ctx context.Context, stream, subject string, do func(subject string) error) error {
	return b.each(ctx, stream, subject, true, func(e Entry) error { return do(e.Subject) })
}

func (b *Broker) each(ctx context.Context, stream, subject string, headersOnly bool, do func(Entry) error) error {
	ctx, end, err := b.Session(ctx)
	if err != nil {
		return err
	}
	defer end()
	var c jetstream.Consumer
	var last uint64 // what is replaced meanwhile comes behind it, and would come again and again
	err = b.insist(ctx, func(ctx context.Context) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx)
		if err != nil {
			return err
		}
		last = info.State.LastSeq
		c, err = b.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
			FilterSubject: subject, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
			InactiveThreshold: time.Minute, HeadersOnly: headersOnly,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("read %s of %s: %w", subject, stream, err)
	}
	defer b.forget(stream, c.CachedInfo().Name)
	for left := c.CachedInfo().NumPending; left > 0; {
		batch, err := c.FetchNoWait(int(min(left, 500)))
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", subject, stream, err)
		}
		got := 0
		for m := range batch.Messages() {
			got++
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			if meta.Sequence.Stream > last {
				return nil
			}
			left = meta.NumPending
			e := Entry{Sequence: meta.Sequence.Stream, Subject: m.Subject(), Header: m.Headers(), Data: m.Data(), Time: meta.Timestamp}
			if err := do(e); err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil {
			return fmt.Errorf("read %s of %s: %w", subject, stream, err)
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if got > 0 {
			continue
		}
		info, err := c.Info(ctx)
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", subject, stream, err)
		}
		if left = info.NumPending; left == 0 {
			return nil
		}
		if err := pause.For(ctx, eachIdle); err != nil {
			return err
		}
	}
	return nil
}

// forget removes a consumer that nobody reads any more; it would end by itself.
func (b *Broker) forget(stream, consumer string) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := b.js.DeleteConsumer(ctx, stream, consumer); err != nil {
		b.log.Debug("delete consumer", "stream", stream, "error", err)
	}
}

// Handled is up to which sequence of a stream a durable consumer, as [SubscriberOptions] name it with a
// filter, has had everything acknowledged; 0 where there is no such consumer.
func (b *Broker) Handled(ctx context.Context, stream, durable string) (uint64, error) {
	var handled uint64
	err := b.insist(ctx, func(ctx context.Context) error {
		c, err := b.js.Consumer(ctx, stream, b.consumerName(durable))
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		handled = c.CachedInfo().AckFloor.Stream
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look at consumer %s of %s: %w", durable, stream, err)
	}
	return handled, nil
}

// Count says how many messages a stream has under a subject, wildcards included.
func (b *Broker) Count(ctx context.Context, stream, subject string) (uint64, error) {
	var n uint64
	err := b.insist(ctx, func(ctx context.Context) error {
		c, err := b.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
			FilterSubject: subject, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
			InactiveThreshold: time.Minute,
		})
		if err != nil {
			return err
		}
		n = c.CachedInfo().NumPending
		b.forget(stream, c.CachedInfo().Name)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("count %s of %s: %w", subject, stream, err)
	}
	return n, nil
}

// Remove removes one message of a stream, if it is still there.
func (b *Broker) Remove(ctx context.Context, stream string, sequence uint64) error {
	err := b.insist(ctx, func(ctx context.Context) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		err = s.DeleteMsg(ctx, sequence)
		if goneAlready(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove %d of %s: %w", sequence, stream, err)
	}
	return nil
}

// goneAlready reports whether the removal of a message failed because it is not there. The client
// library tells nothing but the server's words.
func goneAlready(err error) bool {
	if !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return false
	}
	for _, said := range []string{"no message found", "deleted message", "description=sequence", "stream store EOF"} {
		if strings.Contains(err.Error(), said) {
			return true
		}
	}
	return false
}

// Fullness says how near a stream is to the limits at which its oldest messages go: 0 for empty,
// 1 for full.
func (b *Broker) Fullness(ctx context.Context, stream string) (float64, error) {
	full := 0.0
	err := b.insist(ctx, func(ctx context.Context) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx)
		if err != nil {
			return err
		}
		if most := info.Config.MaxMsgs; most > 0 {
			full = max(full, float64(info.State.Msgs)/float64(most))
		}
		if most := info.Config.MaxBytes; most > 0 {
			full = max(full, float64(info.State.Bytes)/float64(most))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", stream, err)
	}
	return full, nil
}
