package broker

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// subscription is one Subscribe: lanes pull, one dispatcher deals, each
// message that is dealt has a goroutine, and a keeper tells the broker that what
// is held is being worked on.
type subscription struct {
	s        *Subscriber
	b        *Broker
	o        SubscriberOptions
	topic    string
	out      chan *message.Message
	pulling  context.Context // ends when no more is wanted
	stop     context.CancelFunc
	handling context.Context // ends when handlers are given up
	abandon  context.CancelFunc
	parent   context.Context // of the messages' contexts: the caller's

	mu       sync.Mutex
	stream   string
	consumer string
	dealer   *dealer[*held]
	promised int // messages that the lanes have asked for and not got
	held     map[*held]struct{}
	changed  chan struct{} // closed and replaced at every change of the above
}

// held is a message that was delivered here and not yet settled.
type held struct {
	msg       *nats.Msg
	delivered uint64
	sequence  uint64
	published time.Time
}

func newSubscription(ctx context.Context, s *Subscriber, topic string) *subscription {
	sub := &subscription{
		s: s, b: s.b, o: s.options, topic: topic, parent: ctx,
		out:     make(chan *message.Message),
		held:    make(map[*held]struct{}),
		changed: make(chan struct{}),
		dealer: newDealer[*held](dealerRules{
			inFlight:   s.options.InFlight,
			crowd:      s.options.Crowd,
			perSubject: s.options.PerSubject,
			share:      s.options.QueuePerSubject,
			capacity:   s.options.PullMaxMessages,
			bound:      s.options.Bound,
		}),
	}
	sub.pulling, sub.stop = context.WithCancel(ctx)
	sub.handling, sub.abandon = context.WithCancel(context.Background())
	return sub
}

// run consumes until the subscription ends, then settles everything.
func (s *subscription) run() {
	defer close(s.out)
	defer s.abandon()
	defer s.stop()
	defer context.AfterFunc(s.s.closing, s.stop)()

	var lanes, keeper, handlers sync.WaitGroup
	for range s.lanes() {
		lanes.Go(s.lane)
	}
	keeper.Go(s.keep)
	for {
		subject, h, ok := s.next()
		if !ok {
			break
		}
		handlers.Go(func() { s.handle(subject, h) })
	}
	lanes.Wait()
	s.giveBack()
	limit := time.AfterFunc(s.o.DrainTimeout, s.abandon)
	defer limit.Stop()
	handlers.Wait()
	s.abandon() // ends the keeper
	keeper.Wait()
}

// next waits for a message to deal; false when no more is wanted.
func (s *subscription) next() (string, *held, bool) {
	for {
		s.mu.Lock()
		subject, h, ok := s.dealer.next()
		changed := s.changed
		s.mu.Unlock()
		if s.pulling.Err() != nil {
			if ok {
				s.settle(subject, h, s.nak(h, 0))
			}
			return "", nil, false
		}
		if ok {
			return subject, h, true
		}
		select {
		case <-changed:
		case <-s.pulling.Done():
		}
	}
}

// take puts a delivered message into its subject's queue; what there is no room
// for goes back into the stream for a while.
func (s *subscription) take(m *nats.Msg) {
	h := &held{msg: m, delivered: 1}
	if meta, err := m.Metadata(); err == nil {
		h.delivered, h.sequence, h.published = meta.NumDelivered, meta.Sequence.Stream, meta.Timestamp
	}
	s.mu.Lock()
	s.promised--
	s.held[h] = struct{}{}
	back, refused := s.dealer.offer(m.Subject, h)
	if refused {
		delete(s.held, back)
	}
	s.signal()
	s.mu.Unlock()
	if refused {
		s.report(s.nak(back, growing(shareDelay, shareDelayMax, back.delivered)))
	}
}

// When a message comes back that found its subject's queue full.
const (
	shareDelay    = 50 * time.Millisecond
	shareDelayMax = 5 * time.Second
)

// settle forgets a message; err is what became of telling the broker so.
func (s *subscription) settle(subject string, h *held, err error) {
	s.report(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, h)
	s.dealer.done(subject)
	s.signal()
}

// giveBack returns what nobody has begun to handle to the broker.
func (s *subscription) giveBack() {
	s.mu.Lock()
	queued := s.dealer.empty()
	for _, h := range queued {
		delete(s.held, h)
	}
	s.mu.Unlock()
	for _, h := range queued {
		s.report(s.nak(h, 0))
	}
}

// keep tells the broker again and again that what is held is being worked on,
// because a handler may retry in place for longer than AckWait.
func (s *subscription) keep() {
	ticker := time.NewTicker(s.o.AckWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.handling.Done():
			return
		}
		for _, h := range s.snapshot() {
			s.report(s.b.acknowledge(h.msg, verbInProgress))
		}
	}
}

func (s *subscription) snapshot() []*held {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*held, 0, len(s.held))
	for h := range s.held {
		all = append(all, h)
	}
	return all
}

// signal wakes whoever waits for a change; the lock is held.
func (s *subscription) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *subscription) nak(h *held, delay time.Duration) error { return s.b.nak(h.msg, delay) }

// report logs what could not be told to the broker. It will find out by itself:
// AckWait passes and the message is delivered again (invariant 2).
func (s *subscription) report(err error) {
	if err != nil {
		s.b.log.Warn("acknowledge", "consumer", s.o.Durable, "error", err)
	}
}
