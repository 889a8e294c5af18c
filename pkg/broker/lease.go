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
	// Sign is the sign of life with which the lease ends; empty for a lease that was
	// left behind by a process that goes on, and expires by itself.
	Sign string `json:"sign,omitempty"`
	// Token tells apart two acquisitions by the same holder.
	Token string `json:"token"`
	Since string `json:"since"`
}

func (r leaseRecord) epoch(revision uint64) uint64 { return orDefault(r.Epoch, revision) }

// Lease is the right to do something alone, for as long as the holder's process gives a sign of
// life.
//
// A lease cannot stop its holder: a process may be paused between asking Valid
// and acting on it, for longer than the lease lasts. What must not be done twice
// therefore carries the lease's Revision as a fence (see [Appender]), or is
// checked with [Broker.CheckLease] by who does it.
type Lease struct {
	b      *Broker
	name   string
	record leaseRecord
	epoch  uint64
	sign   *sign
	life   context.Context // ends with the lease
	kill   context.CancelFunc
	// unwatch stops waiting for the end of the acquirer's context.
	unwatch  func() bool
	released chan struct{}
	once     sync.Once // closes released
	left     sync.Once

	mu       sync.Mutex
	revision uint64 // of the newest record
}

// AcquireLease takes a lease, at once or not at all: the error is [ErrHeld] when
// it is another's. ttl, at least a second and in whole seconds, is how long it
// outlives its holder, whose sign of life is renewed three times as often. Leases end with
// Release, or when ctx ends: they are not released then but expire.
func (b *Broker) AcquireLease(ctx context.Context, name, holder string, ttl time.Duration) (*Lease, error) {
	s, err := b.signs.enter(ctx, b, holder, max(ttl.Truncate(time.Second), minLeaseTTL))
	if err != nil {
		return nil, fmt.Errorf("lease %s: %w", name, err)
	}
	l := &Lease{
		b: b, name: name, sign: s, released: make(chan struct{}),
		record: leaseRecord{Holder: holder, Sign: s.id, Token: nuid.Next(), Since: time.Now().UTC().Format(time.RFC3339)},
	}
	l.life, l.kill = context.WithCancel(context.WithoutCancel(ctx))
	if err := b.signs.turn(ctx, l); err != nil {
		l.kill()
		return nil, fmt.Errorf("lease %s: %w", name, err)
	}
	if !s.hold(l) {
		l.end() // the process was paused for too long meanwhile
	}
	l.unwatch = context.AfterFunc(ctx, l.abandon)
	return l, nil
}

// acquire takes the lease. If it fails, it gives the lease's part in the sign back, at once or when it is
// known what became of the write.
func (l *Lease) acquire(ctx context.Context) error {
	last, err := l.b.freeLease(ctx, l.name)
	if err != nil {
		l.leave(ctx)
		return err
	}
	l.epoch, err = l.write(ctx, last, nats.Header{})
	l.revision = l.epoch
	switch {
	case errors.Is(err, ErrFenced):
		l.leave(ctx)
		return ErrHeld // somebody was faster
	case err != nil:
		go l.disown(last)
	}
	return err
}

// disown gives back what an acquisition may have written, or may still write, whose outcome is not
// known: nobody would ever release it, and nobody could have it while the process lives.
func (l *Lease) disown(last uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.life), min(writeTimeout, l.sign.ttl))
	defer cancel()
	defer l.leave(ctx)
	_, err := l.put(ctx, last, nil, endOfKey()) // what is still on its way is refused behind this
	if errors.Is(err, ErrFenced) {
		err = l.removeOwn(ctx)
	}
	if err != nil {
		l.giveUp(err)
	}
}

// removeOwn removes the lease's record, if it is this one's.
func (l *Lease) removeOwn(ctx context.Context) error {
	e, err := l.b.leaseEntry(ctx, l.name)
	switch {
	case errors.Is(err, ErrGone):
		return nil
	case err != nil || isMarker(e.Header):
		return err
	}
	record, err := readLease(l.name, e)
	if err != nil || record.Token != l.record.Token {
		return err
	}
	if _, err = l.put(ctx, e.Sequence, nil, endOfKey()); errors.Is(err, ErrFenced) {
		return nil
	}
	return err
}

// giveUp ends all leases of the process: nobody else could have this one while its sign lives.
func (l *Lease) giveUp(err error) {
	l.b.log.Debug("lease was not given back: all of the process are given up", "lease", l.name, "error", err)
	l.sign.lose()
}

// heldError says whose sign of life keeps a lease; empty if it expires by itself.
type heldError struct{ sign string }

func (e *heldError) Error() string { return ErrHeld.Error() }

func (e *heldError) Is(target error) bool { return target == ErrHeld }

// freeLease returns the revision of what an ended lease left, 0 for nothing; the error is
// [ErrHeld] when the lease is held.
func (b *Broker) freeLease(ctx context.Context, name string) (uint64, error) {
	e, err := b.leaseEntry(ctx, name)
	switch {
	case errors.Is(err, ErrGone):
		return 0, nil
	case err != nil:
		return 0, err
	case isMarker(e.Header):
		return e.Sequence, nil
	}
	record, err := readLease(name, e)
	if err != nil {
		return 0, err
	}
	alive, err := b.alive(ctx, record)
	if err != nil {
		return 0, err
	}
	if alive {
		return 0, &heldError{record.Sign}
	}
	return e.Sequence, nil
}

func readLease(name string, e Entry) (leaseRecord, error) {
	var record leaseRecord
	if err := json.Unmarshal(e.Data, &record); err != nil {
		return record, fmt.Errorf("lease %s: unreadable record: %w", name, err)
	}
	return record, nil
}

// alive reports whether the holder of a lease gives a sign of life. What expires by itself is alive
// while it is there.
func (b *Broker) alive(ctx context.Context, record leaseRecord) (bool, error) {
	if record.Sign == "" {
		return true, nil
	}
	e, err := b.leaseEntry(ctx, signName(record.Sign))
	if errors.Is(err, ErrGone) {
		return false, nil
	}
	return err == nil && !isMarker(e.Header), err
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
// revision.
func (l *Lease) write(ctx context.Context, last uint64, header nats.Header) (uint64, error) {
	value, err := json.Marshal(l.record)
	if err != nil {
		return 0, err
	}
	return l.put(ctx, last, value, header)
}

func (l *Lease) put(ctx context.Context, last uint64, value []byte, header nats.Header) (uint64, error) {
	return l.b.putLease(ctx, l.name, last, value, header, l.sign.ttl)
}

// putLease writes a key of the leases' bucket on condition that the newest entry has the given revision.
func (b *Broker) putLease(ctx context.Context, name string, last uint64, value []byte, header nats.Header, ttl time.Duration) (uint64, error) {
	header.Set(jetstream.ExpectedLastSubjSeqHeader, formatUint(last))
	return b.putKey(ctx, b.Buckets().Leases, Token(name), value, header, min(writeTimeout, ttl/leaseAttempts))
}

// end announces that the lease has ended.
func (l *Lease) end() { l.kill() }

// leave gives the lease's part in the sign back, once.
func (l *Lease) leave(ctx context.Context) {
	l.left.Do(func() { l.sign.leave(ctx, l) })
}

// abandonAfter is how long a lease whose acquirer's context has ended waits for its release, which is what
// usually comes next.
const abandonAfter = time.Second

// abandon ends a lease whose acquirer's context has ended, perhaps in the middle of something: unless it
// is released, it is left to expire, although the process goes on.
func (l *Lease) abandon() {
	l.end()
	patience := time.NewTimer(min(abandonAfter, l.sign.ttl/3))
	defer patience.Stop()
	select {
	case <-l.released:
		return
	case <-patience.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.life), min(writeTimeout, l.sign.ttl))
	defer cancel()
	defer l.leave(ctx)
	if l.isReleased() || !l.sign.valid() {
		return
	}
	l.record.Epoch, l.record.Sign = l.epoch, ""
	revision, err := l.write(ctx, l.revision, nats.Header{jetstream.MsgTTLHeader: {l.sign.ttl.String()}})
	if err == nil {
		l.revision = revision
		return
	}
	if !errors.Is(err, ErrFenced) {
		l.giveUp(err)
	}
}

func (l *Lease) isReleased() bool {
	select {
	case <-l.released:
		return true
	default:
		return false
	}
}

// Name of the lease.
func (l *Lease) Name() string { return l.name }

// Revision is that of the acquisition: the epoch of this ownership. Later owners
// have higher ones. Renewals do not change it.
func (l *Lease) Revision() uint64 { return l.epoch }

// Lost is closed when the lease has ended: the holder's sign of life could not be renewed in time,
// another took it, or it was released.
func (l *Lease) Lost() <-chan struct{} { return l.life.Done() }

// Valid reports that the lease has not ended, nor run out by the clock.
func (l *Lease) Valid() bool { return l.life.Err() == nil && l.sign.valid() }

// Release gives the lease up, so that another can have it at once. A lease that is lost already is no
// error.
func (l *Lease) Release(ctx context.Context) error {
	l.unwatch()
	l.end()
	if !l.release() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.leave(ctx)
	_, err := l.put(ctx, l.revision, nil, endOfKey())
	if err != nil && !errors.Is(err, ErrFenced) {
		return fmt.Errorf("release lease %s: %w", l.name, err)
	}
	return nil
}

// release says that the lease is being released, the first time.
func (l *Lease) release() (first bool) {
	l.once.Do(func() {
		close(l.released)
		first = true
	})
	return first
}
