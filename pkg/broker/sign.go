package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// leaseAttempts is how many times in a time to live an unanswered renewal can be repeated:
// a leader that is lost with one on its way must not cost the leases when there is another
// leader soon.
const leaseAttempts = 6

// acquiring is how many leases are acquired at once: a thousand jobs that begin must not keep the renewal
// of the sign that all of them hang on waiting behind them, in the broker and before it.
const acquiring = 32

// minLeaseTTL is the broker's: it counts times to live in whole seconds.
const minLeaseTTL = time.Second

// sign is a process's sign of life: a key that expires unless it is renewed. All leases that the
// process has name it, and end with it: thousands of leases are renewed by one write.
type sign struct {
	b      *Broker
	id     string
	holder string
	ttl    time.Duration
	stop   context.CancelFunc
	done   chan struct{} // closed when nobody renews it any more

	mu       sync.Mutex
	revision uint64    // of the newest renewal
	renewed  time.Time // when the newest renewal was sent; monotonic and wall clock
	over     bool
	users    int // leases, and those that are being acquired
	leases   map[*Lease]struct{}
}

// signs are those of one connection, one for each time to live.
type signs struct {
	making  chan struct{} // has room for the one who looks for one or makes it
	turns   chan struct{} // has room for those who acquire leases
	current map[time.Duration]*sign
}

func newSigns() *signs {
	return &signs{making: make(chan struct{}, 1), turns: make(chan struct{}, acquiring), current: map[time.Duration]*sign{}}
}

// enter returns a sign that is alive, for one more user.
func (s *signs) enter(ctx context.Context, b *Broker, holder string, ttl time.Duration) (*sign, error) {
	select {
	case s.making <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.making }()
	if c := s.current[ttl]; c != nil && c.join() {
		return c, nil
	}
	c, err := b.newSign(ctx, holder, ttl)
	if err != nil {
		return nil, err
	}
	s.current[ttl] = c
	return c, nil
}

// turn acquires a lease when it is its turn.
func (s *signs) turn(ctx context.Context, l *Lease) error {
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		l.leave(ctx)
		return ctx.Err()
	}
	defer func() { <-s.turns }()
	return l.acquire(ctx)
}

func (b *Broker) newSign(ctx context.Context, holder string, ttl time.Duration) (*sign, error) {
	s := &sign{
		b: b, id: nuid.Next(), holder: holder, ttl: ttl, users: 1,
		done: make(chan struct{}), leases: map[*Lease]struct{}{},
	}
	sent := time.Now()
	var err error
	if s.revision, err = s.write(ctx, 0); err != nil {
		return nil, fmt.Errorf("sign of life: %w", err)
	}
	s.renewed = sent
	// It lives as long as somebody uses it, whoever that is.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go s.renew(renewing)
	return s, nil
}

func signName(id string) string { return "sign." + id }

// write writes the sign on condition that the newest one has the given revision. A bucket's own
// update would drop the time to live.
func (s *sign) write(ctx context.Context, last uint64) (uint64, error) {
	value, err := json.Marshal(map[string]string{"holder": s.holder})
	if err != nil {
		return 0, err
	}
	return s.put(ctx, last, value, nats.Header{jetstream.MsgTTLHeader: {s.ttl.String()}})
}

func (s *sign) put(ctx context.Context, last uint64, value []byte, header nats.Header) (uint64, error) {
	return s.b.putLease(ctx, signName(s.id), last, value, header, s.ttl)
}

// join adds a user; it fails if the sign is over.
func (s *sign) join() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.users++
	return true
}

// hold makes a lease end with the sign; it fails if that is over.
func (s *sign) hold(l *Lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.leases[l] = struct{}{}
	return true
}

// leave takes a user away; the lease is nil if it has none. The sign ends with its last one.
func (s *sign) leave(ctx context.Context, l *Lease) {
	s.mu.Lock()
	delete(s.leases, l)
	s.users--
	last := s.users == 0 && !s.over
	if last {
		s.over = true
	}
	s.mu.Unlock()
	if !last {
		return
	}
	s.stop()
	<-s.done
	// Without it nobody waits for the key to expire: there is no lease that names it.
	if _, err := s.put(ctx, s.revision, nil, endOfKey()); err != nil && !errors.Is(err, ErrFenced) {
		s.b.log.Debug("sign of life was not taken back and expires", "error", err)
	}
}

// endOfKey marks a key of a bucket as gone, for watchers.
func endOfKey() nats.Header {
	return nats.Header{"KV-Operation": {"DEL"}, jetstream.MsgTTLHeader: {markerTTL.String()}}
}

// renew keeps the sign until it is lost or stopped.
func (s *sign) renew(ctx context.Context) {
	defer close(s.done)
	ticker := time.NewTicker(s.ttl / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if !s.valid() || !s.renewOnce(ctx) {
			s.lose()
			return
		}
	}
}

// renewOnce tries until the broker answers or the sign has run out.
func (s *sign) renewOnce(ctx context.Context) bool {
	s.mu.Lock()
	last, deadline := s.revision, s.renewed.Add(s.validity())
	s.mu.Unlock()
	attempt, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	sent := time.Now()
	revision, err := s.write(attempt, last)
	if err != nil {
		return ctx.Err() != nil // stopped: nobody cares any more
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision, s.renewed = revision, sent
	return true
}

// lose ends all leases: the sign is not renewed any more.
func (s *sign) lose() {
	s.stop()
	s.mu.Lock()
	s.over = true
	leases := s.leases
	s.leases = map[*Lease]struct{}{}
	s.mu.Unlock()
	for l := range leases {
		l.end()
	}
}

// validity is for how long after a renewal was sent the holder believes in it: a
// little less than the broker does, because clocks drift.
func (s *sign) validity() time.Duration { return s.ttl - s.ttl/10 }

// valid reports that the sign has not run out. It judges by the clock and not
// by messages, so that a process that was stopped and woken knows at once. Both
// clocks are asked: the monotonic one does not count while a machine sleeps, the
// wall clock may be set back.
func (s *sign) valid() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	now := time.Now()
	return now.Sub(s.renewed) < s.validity() && now.Round(0).Sub(s.renewed.Round(0)) < s.validity()
}
