package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lanesPerSubscription pull in turn, so that one request is always on its way
// while the other's messages arrive: with a single one every batch would cost a
// round trip of silence.
const lanesPerSubscription = 2

// lanes is how many pull. The broker deals messages to waiting requests in turn, so
// that two lanes may hand over two messages of a subject the wrong way round.
func (s *subscription) lanes() int {
	if s.o.PerSubject == 1 {
		return 1
	}
	return lanesPerSubscription
}

// lane pulls messages for as long as there is room, and begins anew whenever
// something is wrong with the connection or the consumer.
func (s *subscription) lane() {
	retry := newBackoff(10*time.Millisecond, 2*time.Second)
	for s.pulling.Err() == nil {
		err := s.pullWhileWell(retry)
		if errors.Is(err, ErrClosed) {
			s.stop()
			return
		}
		if s.pulling.Err() != nil {
			return
		}
		s.b.log.Debug("pull", "consumer", s.o.Durable, "error", err)
		if retry.wait(s.pulling) != nil {
			return
		}
		// Whatever it was, the consumer may be gone: make sure that it is there.
		if err := s.ensureConsumer(s.pulling); err != nil && s.pulling.Err() == nil {
			s.b.log.Warn("create consumer", "consumer", s.o.Durable, "error", err)
		}
	}
}

// pullWhileWell pulls until the first error, which is the end of the connection
// too: requests are forgotten with it.
func (s *subscription) pullWhileWell(retry *retryPause) error {
	ctx, cancel, err := s.b.session.within(s.pulling)
	if err != nil {
		return err
	}
	defer cancel()
	stream, consumer := s.current()
	p, err := s.b.newPuller(stream, consumer, s.o.PullMaxMessages)
	if err != nil {
		return err
	}
	defer p.close(s.takeUnasked)
	for {
		n := s.reserve(ctx)
		if n == 0 {
			return ctx.Err()
		}
		left := n
		err := p.pull(ctx, n, s.pullBytes(), func(m *nats.Msg) {
			left--
			s.take(m)
		})
		s.unreserve(left)
		if err != nil {
			return err
		}
		retry.reset()
	}
}

// reserve waits until there is room and takes some of it: how many messages to
// ask for, 0 when no more are wanted. Never is more asked for than can be held,
// so that everything delivered is in a queue and reported as in progress.
func (s *subscription) reserve(ctx context.Context) int {
	for ctx.Err() == nil {
		s.mu.Lock()
		capacity := s.o.PullMaxMessages
		room := capacity - s.dealer.held - s.promised
		// Small requests are costly, but the last lane asks for whatever there
		// is: slow subjects may keep the rest for long.
		if room > 0 && (s.promised == 0 || room >= capacity/4) {
			n := min(room, (capacity+1)/s.lanes())
			s.promised += n
			s.mu.Unlock()
			return n
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return 0
}

// unreserve gives back what was asked for and has not come.
func (s *subscription) unreserve(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.promised -= n
	s.signal()
}

// takeUnasked is take for what arrives after its request was given up.
func (s *subscription) takeUnasked(m *nats.Msg) {
	s.unreserve(-1)
	s.take(m)
}

// pullBytes is one lane's part of the bound. A single message always fits.
func (s *subscription) pullBytes() int {
	return max(s.o.PullMaxBytes/s.lanes(), 2*int(s.b.conn.MaxPayload()))
}

// ensureConsumer creates the durable consumer, or makes it what the options say.
func (s *subscription) ensureConsumer(ctx context.Context) error {
	stream, err := s.streamName(ctx)
	if err != nil {
		return err
	}
	return s.b.insist(ctx, func(ctx context.Context) error {
		c, err := s.b.js.CreateOrUpdateConsumer(ctx, stream, s.consumerConfig())
		if err != nil {
			return fmt.Errorf("consumer %s of %s: %w", s.o.Durable, stream, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stream, s.consumer = stream, c.CachedInfo().Name
		return nil
	})
}

// current names the consumer and its stream.
func (s *subscription) current() (stream, consumer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream, s.consumer
}

func (s *subscription) streamName(ctx context.Context) (string, error) {
	if s.o.Stream != "" {
		return s.o.Stream, nil
	}
	var name string
	err := s.b.insist(ctx, func(ctx context.Context) (err error) {
		name, err = s.b.js.StreamNameBySubject(ctx, s.topic)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("stream of %s: %w", s.topic, err)
	}
	return name, nil
}

// consumerName is the name in the broker of a durable consumer that is told what it filters.
func (b *Broker) consumerName(durable string) string { return b.topology.namespace + "_" + durable }

func (s *subscription) consumerConfig() jetstream.ConsumerConfig {
	name, filter := s.b.consumerName(s.o.Durable), s.o.Filter
	if len(filter) == 0 {
		name, filter = name+"_"+Token(s.topic), []string{s.topic}
	}
	return jetstream.ConsumerConfig{
		Durable:        name,
		FilterSubjects: filter,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        s.o.AckWait,
		MaxAckPending:  s.o.MaxAckPending,
		MaxDeliver:     -1,
		MaxWaiting:     maxWaiting,
	}
}

// maxWaiting is how many pull requests a consumer keeps: two for each instance
// of the stage.
const maxWaiting = 4096
