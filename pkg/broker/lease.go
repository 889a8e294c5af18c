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

var (
	// ErrHeld says that a lease is somebody else's.
	ErrHeld = errors.New("lease is held by another")
	// ErrLeaseLost says that a lease is no longer, or not, the one it is
	// believed to be.
	ErrLeaseLost = errors.New("lease is lost")
)

// leaseRecord is what the bucket keeps of a lease.
type leaseRecord struct {
	// Epoch is the revision of the acquisition. The acquisition itself cannot
	// know it and writes 0: it is then the record's own revision.
	Epoch uint64 `json:"epoch,omitempty"`
	// Holder says to people who has it.
	Holder string `json:"holder"`
	// Token tells apart two acquisitions by the same holder.
	Token string `json:"token"`
	Since string `json:"since"`
}

func (r leaseRecord) epoch(revision uint64) uint64 { return orDefault(r.Epoch, revision) }

// Lease is the right to do something alone, for as long as it is renewed.
//
// A lease cannot stop its holder: a process may be paused between asking Valid
// and acting on it, for longer than the lease lasts. What must not be done twice
// therefore carries the lease's Revision as a fence (see [Appender]), or is
// checked with [Broker.CheckLease] by who does it.
type Lease struct {
	b      *Broker
	name   string
	ttl    time.Duration
	record leaseRecord
	epoch  uint64
	lost   chan struct{}
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	revision uint64    // of the newest renewal
	renewed  time.Time // when the newest renewal was sent; monotonic and wall clock
	over     bool
}

// leaseAttempts is how many times in a time to live an unanswered renewal can be repeated:
// a leader that is lost with one on its way must not cost the lease when there is another
// leader soon.
const leaseAttempts = 6

// minLeaseTTL is the broker's: it counts times to live in whole seconds.
const minLeaseTTL = time.Second

// AcquireLease takes a lease, at once or not at all: the error is [ErrHeld] when
// it is another's. ttl, at least a second and in whole seconds, is how long it
// outlives its holder; it is renewed three times as often. Leases end with
// Release, or when ctx ends: they are not released then but expire.
func (b *Broker) AcquireLease(ctx context.Context, name, holder string, ttl time.Duration) (*Lease, error) {
	l := &Lease{
		b: b, name: name, ttl: max(ttl.Truncate(time.Second), minLeaseTTL),
		record: leaseRecord{Holder: holder, Token: nuid.Next(), Since: time.Now().UTC().Format(time.RFC3339)},
		lost:   make(chan struct{}),
	}
	last, err := b.freeLease(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("lease %s: %w", name, err)
	}
	sent := time.Now()
	if l.revision, err = l.write(ctx, last, l.ttl); err != nil {
		if errors.Is(err, ErrFenced) {
			err = ErrHeld // somebody was faster
		}
		return nil, fmt.Errorf("lease %s: %w", name, err)
	}
	l.epoch, l.renewed = l.revision, sent
	l.record.Epoch = l.epoch
	renewing, stop := context.WithCancel(ctx)
	l.stop = stop
	l.done.Go(func() { l.renew(renewing) })
	return l, nil
}

// freeLease returns the revision of the mark that an ended lease left, 0 without
// one; [ErrHeld] when the lease is held.
func (b *Broker) freeLease(ctx context.Context, name string) (uint64, error) {
	e, err := b.leaseEntry(ctx, name)
	switch {
	case errors.Is(err, ErrGone):
		return 0, nil
	case err != nil:
		return 0, err
	case !isMarker(e.Header):
		return 0, ErrHeld
	}
	return e.Sequence, nil
}

// leaseEntry reads the newest record of a lease from the leader: a lagging
// replica would show one that has passed on.
func (b *Broker) leaseEntry(ctx context.Context, name string) (Entry, error) {
	bucket := b.Buckets().Leases
	return b.getLast(ctx, "KV_"+bucket, keySubject(bucket, Token(name)))
}

// isMarker reports that an entry of a bucket says that the key is gone.
func isMarker(h nats.Header) bool {
	switch h.Get("KV-Operation") {
	case "DEL", "PURGE":
		return true
	}
	return h.Get(jetstream.MarkerReasonHeader) != ""
}

// write writes the lease's record on condition that the newest one has the given
// revision. A bucket's own update would drop the time to live.
func (l *Lease) write(ctx context.Context, last uint64, ttl time.Duration) (uint64, error) {
	value, err := json.Marshal(l.record)
	if err != nil {
		return 0, err
	}
	return l.put(ctx, last, value, nats.Header{jetstream.MsgTTLHeader: {ttl.String()}})
}

func (l *Lease) put(ctx context.Context, last uint64, value []byte, header nats.Header) (uint64, error) {
	header.Set(jetstream.ExpectedLastSubjSeqHeader, formatUint(last))
	return l.b.putKey(ctx, l.b.Buckets().Leases, Token(l.name), value, header, min(writeTimeout, l.ttl/leaseAttempts))
}

// renew keeps the lease until it is lost or stopped.
func (l *Lease) renew(ctx context.Context) {
	defer l.end()
	ticker := time.NewTicker(l.ttl / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if !l.Valid() || !l.renewOnce(ctx) {
			return
		}
	}
}

// renewOnce tries until the broker answers or the lease has run out.
func (l *Lease) renewOnce(ctx context.Context) bool {
	l.mu.Lock()
	last, deadline := l.revision, l.renewed.Add(l.validity())
	l.mu.Unlock()
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	sent := time.Now()
	revision, err := l.write(ctx, last, l.ttl)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision, l.renewed = revision, sent
	return true
}

// validity is for how long after a renewal was sent the holder believes in it: a
// little less than the broker does, because clocks drift.
func (l *Lease) validity() time.Duration { return l.ttl - l.ttl/10 }

// end announces that the lease is lost. That it has ended by Release is no loss,
// but whoever waits for Lost is told all the same.
func (l *Lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	close(l.lost)
}

// Name of the lease.
func (l *Lease) Name() string { return l.name }

// Revision is that of the acquisition: the epoch of this ownership. Later owners
// have higher ones. Renewals do not change it.
func (l *Lease) Revision() uint64 { return l.epoch }

// Lost is closed when the lease has ended: it could not be renewed in time,
// another took it, or it was released.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Valid reports that the lease has not run out. It judges by the clock and not
// by messages, so that a process that was stopped and woken knows at once. Both
// clocks are asked: the monotonic one does not count while a machine sleeps, the
// wall clock may be set back.
func (l *Lease) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	now := time.Now()
	return now.Sub(l.renewed) < l.validity() && now.Round(0).Sub(l.renewed.Round(0)) < l.validity()
}

// Release gives the lease up, so that another can have it at once. It waits for
// the renewing to end. A lease that is lost already is no error.
func (l *Lease) Release(ctx context.Context) error {
	l.stop()
	l.done.Wait()
	l.mu.Lock()
	last := l.revision
	l.mu.Unlock()
	_, err := l.put(ctx, last, nil, nats.Header{
		"KV-Operation":         {"DEL"},
		jetstream.MsgTTLHeader: {markerTTL.String()},
	})
	if err != nil && !errors.Is(err, ErrFenced) {
		return fmt.Errorf("release lease %s: %w", l.name, err)
	}
	return nil
}
