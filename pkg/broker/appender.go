package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
)

// Appender appends to a feed's log as its one owner. Leases fail, because a
// paused owner may wake; an Appender does not: it leaves a marker in the log's
// stream, and every append names the marker as the newest, so that after a
// takeover the broker refuses whatever the old owner still sends (DESIGN section
// 4, "a feed has one owner").
//
// Appends are queued and sent one after the other, each when the broker has the
// one before. More on the wire at once would leave holes: when one is lost with
// a connection or a leader the next may still arrive; and a replicated stream
// refuses a second append under the same marker while the first is being agreed
// on. So the log is dense, and every entry names its predecessor's stream
// sequence ([HeaderPrevious]), by which [LogReader] notices what was trimmed.
//
// It is safe for concurrent use; the order is that of the calls to Append.
type Appender struct {
	b       *Broker
	subject string
	owner   string
	epoch   uint64
	o       AppenderOptions
	window  *semaphore.Weighted
	life    context.Context // ends when the appender stops; the cause says why
	end     context.CancelCauseFunc
	done    sync.WaitGroup

	mu      sync.Mutex
	marker  uint64 // stream sequence of our marker
	last    uint64 // ordinal that was queued last
	queue   []*queuedAppend
	queued  chan struct{} // has room for one: the queue is not empty
	closing bool

	previous uint64 // stream sequence of the newest entry; the sender's own
}

// AppenderOptions refines an Appender. The zero value of a field means its
// default.
type AppenderOptions struct {
	// WindowBytes is how many bytes may be queued; Append waits there. Default
	// 16 MiB.
	WindowBytes int64
	// Confirm asks whether the ownership still stands, usually
	// [Broker.CheckLease]. It is needed when the log's limits have trimmed
	// everything that the stream knew about the feed, markers included. Without
	// it that counts as a takeover.
	Confirm func(context.Context) error
}

type queuedAppend struct {
	ordinal uint64
	m       *nats.Msg
	weight  int64
	future  *Future
}

// NewAppender takes over a feed's log in the stream CHANGES: it writes the
// owner's marker. The epoch is the revision of the owner's lease. The error is
// [ErrFenced] when the log has seen a higher epoch.
func (b *Broker) NewAppender(ctx context.Context, feedSubject, ownerSubject string, epoch uint64, o AppenderOptions) (*Appender, error) {
	o.WindowBytes = orDefault(o.WindowBytes, defaultWindow)
	a := &Appender{
		b: b, subject: feedSubject, owner: ownerSubject, epoch: epoch, o: o,
		window: semaphore.NewWeighted(o.WindowBytes),
		queued: make(chan struct{}, 1),
	}
	if err := a.takeOver(ctx); err != nil {
		return nil, fmt.Errorf("take over %s: %w", feedSubject, err)
	}
	var err error
	if a.previous, err = a.predecessor(ctx); err != nil {
		return nil, fmt.Errorf("take over %s: %w", feedSubject, err)
	}
	a.life, a.end = context.WithCancelCause(context.Background())
	a.done.Go(a.run)
	return a, nil
}

// Append queues an entry and returns its future; it waits only while the queue
// is full. Ordinals are dense: each is one above the one before; the first may be
// any. payload must not be changed before the future is done. After [ErrFenced]
// nothing can be appended any more.
func (a *Appender) Append(ctx context.Context, ordinal uint64, payload []byte, options ...PublishOption) (*Future, error) {
	m := newMessage(a.subject, payload, append(options,
		MsgID(fmt.Sprintf("%s.%d.%d", a.subject, a.epoch, ordinal)),
		Header(HeaderEpoch, formatUint(a.epoch)),
		Header(HeaderOrdinal, formatUint(ordinal))))
	q := &queuedAppend{ordinal: ordinal, m: m, weight: min(int64(wireSize(m)), a.o.WindowBytes), future: newFuture()}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.life, cancel)()
	if err := a.window.Acquire(waiting, q.weight); err != nil {
		return nil, a.appendError(ordinal, orCause(a.life, err))
	}
	if err := a.push(q); err != nil {
		a.window.Release(q.weight)
		return nil, a.appendError(ordinal, err)
	}
	return q.future, nil
}

func (a *Appender) push(q *queuedAppend) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.life.Err() != nil:
		return context.Cause(a.life)
	case a.closing:
		return ErrClosed
	case a.last != 0 && q.ordinal != a.last+1:
		return fmt.Errorf("ordinal follows %d: ordinals are dense", a.last)
	}
	a.last = q.ordinal
	a.queue = append(a.queue, q)
	a.wake()
	return nil
}

// wake tells the sender to look at the queue.
func (a *Appender) wake() {
	select {
	case a.queued <- struct{}{}:
	default:
	}
}

// run sends what is queued, one after the other, until the appender stops.
func (a *Appender) run() {
	for {
		q, more := a.pop()
		if q == nil {
			if !more {
				a.end(ErrClosed)
				return
			}
			select {
			case <-a.queued:
			case <-a.life.Done():
				a.failAll() // something may have been queued at the same moment
				return
			}
			continue
		}
		sequence, err := a.send(q)
		a.window.Release(q.weight)
		if err != nil {
			a.end(err)
			q.future.resolve(0, a.appendError(q.ordinal, err))
			a.failAll()
			return
		}
		a.previous = sequence
		q.future.resolve(sequence, nil)
	}
}

// pop takes the first of the queue; more is false when there will be none.
func (a *Appender) pop() (q *queuedAppend, more bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		return nil, !a.closing
	}
	q, a.queue = a.queue[0], a.queue[1:]
	return q, true
}

// failAll tells everybody in the queue that the appender has stopped.
func (a *Appender) failAll() {
	a.mu.Lock()
	left := a.queue
	a.queue = nil
	a.mu.Unlock()
	for _, q := range left {
		a.window.Release(q.weight)
		q.future.resolve(0, a.appendError(q.ordinal, context.Cause(a.life)))
	}
}

// send appends one entry, as often as it takes: until the broker has it, or says
// that somebody else owns the log.
func (a *Appender) send(q *queuedAppend) (uint64, error) {
	q.m.Header.Set(HeaderPrevious, formatUint(a.previous))
	m := q.m
	if a.b.needsClaim(m) {
		claim, err := a.b.checkIn(a.life, m)
		if err != nil {
			return 0, err
		}
		m = claim
	}
	for retry := newBackoff(5*time.Millisecond, time.Second); ; {
		ExpectLast(a.owner, a.Marker())(m.Header)
		sequence, err := a.b.publishOnce(a.life, m, writeTimeout)
		if err == nil {
			return sequence, nil
		}
		switch judge(err) {
		case verdictNever:
			return 0, publishError(a.subject, err)
		case verdictFenced:
			if err := a.reclaim(a.life); err != nil {
				return 0, err
			}
		}
		if retry.wait(a.life) != nil {
			return 0, context.Cause(a.life)
		}
		if sequence := a.stored(q, err); sequence != 0 {
			return sequence, nil
		}
	}
}

// stored returns the stream sequence of an entry that the broker has although it did not
// say so, because the connection was lost; 0 when it has not. By the message's id alone the
// broker would know, but only for as long as it remembers that.
func (a *Appender) stored(q *queuedAppend, err error) uint64 {
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) {
		return 0 // what was refused was not stored
	}
	newest, err := a.b.getLast(a.life, a.stream(), a.subject)
	if err != nil || epochOf(newest) != a.epoch || parseUint(newest.Header.Get(HeaderOrdinal)) != q.ordinal {
		return 0
	}
	return newest.Sequence
}

// publishOnce makes one attempt and waits a moment for the broker's answer: when a leader
// is lost none comes, and whoever waits longer has lost that time.
func (b *Broker) publishOnce(ctx context.Context, m *nats.Msg, patience time.Duration) (uint64, error) {
	attempt, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ack, err := b.js.PublishMsg(attempt, m)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// Epoch under which this appender owns the log.
func (a *Appender) Epoch() uint64 { return a.epoch }

// Marker is the stream sequence of the owner's marker.
func (a *Appender) Marker() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.marker
}

// Stopped is closed when the appender has stopped: fenced, refused or closed.
func (a *Appender) Stopped() <-chan struct{} { return a.life.Done() }

// Err says why the appender has stopped; nil while it has not.
func (a *Appender) Err() error { return context.Cause(a.life) }

// Close sends what is queued, until ctx ends; the rest fails with [ErrClosed].
func (a *Appender) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closing = true
	a.wake()
	a.mu.Unlock()
	defer context.AfterFunc(ctx, func() { a.end(ErrClosed) })()
	a.done.Wait()
	if err := a.Err(); !errors.Is(err, ErrClosed) {
		return err
	}
	return ctx.Err()
}

func (a *Appender) appendError(ordinal uint64, err error) error {
	return fmt.Errorf("append %d to %s in epoch %d: %w", ordinal, a.subject, a.epoch, err)
}
