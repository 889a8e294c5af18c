package replicator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/pause"
)

// tap is one log, of all jobs or feeds, that a process reads once for all runs that it owns: a
// consumer for each run would be thousands, and each would decode what all get.
type tap[M any] struct {
	broker          *broker.Broker
	stream, subject string // with a wildcard at its end
	decode          func(broker.Entry) (M, error)

	mu        sync.Mutex
	listeners map[string]map[*listener[M]]struct{} // by the subject's last token
	open      chan struct{}                        // closed while the log is being read
}

// record is an entry of a log, decoded.
type record[M any] struct {
	sequence uint64
	value    M
}

// listener is one run's place at a tap. What has come is bounded by the log itself, of which it
// has pointers only: nobody waits for a run.
type listener[M any] struct {
	tap *tap[M]
	id  string
	// came holds one when there is something to take.
	came chan struct{}

	mu      sync.Mutex
	records []record[M]
	err     error
	// known is the newest sequence that was read from the log itself.
	known uint64
}

func newTap[M any](b *broker.Broker, stream, subject string, decode func(broker.Entry) (M, error)) *tap[M] {
	return &tap[M]{
		broker: b, stream: stream, subject: subject, decode: decode,
		listeners: map[string]map[*listener[M]]struct{}{}, open: make(chan struct{}),
	}
}

// tapAgain is the wait before a log is read again whose reading failed.
const tapAgain = 100 * time.Millisecond

// run reads the log from its end on, until ctx ends. Where it has lost something, whoever listens
// is told, and reads the log again.
func (t *tap[M]) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := t.read(ctx)
		t.fail(err)
		if pause.For(ctx, tapAgain) != nil {
			return
		}
	}
}

func (t *tap[M]) read(ctx context.Context) error {
	from := uint64(0)
	last, err := t.broker.Last(ctx, t.stream, t.subject)
	switch {
	case err == nil:
		from = last.Sequence + 1
	case !errors.Is(err, broker.ErrGone):
		return err
	}
	log, err := t.broker.Follow(ctx, t.stream, t.subject, from, broker.LogOptions{})
	if err != nil {
		return lostLog(t.subject, err)
	}
	defer log.Close() //nolint:errcheck // it was read only
	t.mu.Lock()
	close(t.open)
	t.mu.Unlock()
	for {
		e, err := log.Next(ctx)
		if err != nil {
			return lostLog(t.subject, err)
		}
		if err := t.deal(e); err != nil {
			return err
		}
	}
}

// deal hands an entry to those who listen.
func (t *tap[M]) deal(e broker.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	here := t.listeners[idIn(e.Subject)]
	if len(here) == 0 {
		return nil
	}
	value, err := t.decode(e)
	if err != nil {
		return err
	}
	for l := range here {
		l.put(record[M]{e.Sequence, value})
	}
	return nil
}

// fail tells everybody that the log is not read any more.
func (t *tap[M]) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.open:
		t.open = make(chan struct{})
	default:
	}
	for _, here := range t.listeners {
		for l := range here {
			l.fail(err)
		}
	}
	clear(t.listeners)
}

// listen begins to listen to a job's or a feed's part of the log.
func (t *tap[M]) listen(ctx context.Context, id string) (*listener[M], error) {
	for {
		t.mu.Lock()
		open := t.open
		select {
		case <-open:
			l := &listener[M]{tap: t, id: id, came: make(chan struct{}, 1)}
			if t.listeners[id] == nil {
				t.listeners[id] = map[*listener[M]]struct{}{}
			}
			t.listeners[id][l] = struct{}{}
			t.mu.Unlock()
			return l, nil
		default:
		}
		t.mu.Unlock()
		select {
		case <-open:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(tapAgain): // it may have failed meanwhile
		}
	}
}

// idSubject is the part of the log that the listener hears.
func (l *listener[M]) subject() string {
	return strings.TrimSuffix(l.tap.subject, broker.Any) + l.id
}

// last is the newest sequence in the listener's part of the log; 0 for none.
func (l *listener[M]) last(ctx context.Context) (uint64, error) {
	e, err := l.tap.broker.Last(ctx, l.tap.stream, l.subject())
	if errors.Is(err, broker.ErrGone) {
		return 0, nil
	}
	return e.Sequence, err
}

// recall reads what of the log was there before the listener, from its first entry on.
func (l *listener[M]) recall(ctx context.Context) error {
	last, err := l.last(ctx)
	if err != nil || last == 0 {
		return err
	}
	log, err := l.tap.broker.Follow(ctx, l.tap.stream, l.subject(), 0, broker.LogOptions{})
	if err != nil {
		return lostLog(l.subject(), err)
	}
	defer log.Close() //nolint:errcheck // it was read only
	var before []record[M]
	for at := uint64(0); at < last; {
		// What is purged meanwhile does not come: whoever purges needs it no more.
		reading, cancel := context.WithTimeout(ctx, recallPatience)
		e, err := log.Next(reading)
		silent := reading.Err() != nil && ctx.Err() == nil
		cancel()
		if silent {
			if now, err := l.last(ctx); err != nil || now == 0 || now <= at {
				return err
			}
			continue
		}
		if err != nil {
			return lostLog(l.subject(), err)
		}
		value, err := l.tap.decode(e)
		if err != nil {
			return err
		}
		before = append(before, record[M]{e.Sequence, value})
		at = e.Sequence
	}
	l.remember(before)
	return nil
}

// recallPatience is how long the next entry of a log may take that was there a moment ago.
const recallPatience = 5 * time.Second

// remember puts what was read from the log before what was heard.
func (l *listener[M]) remember(before []record[M]) {
	if len(before) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = before[len(before)-1].sequence
	for _, r := range l.records {
		if r.sequence > l.known {
			before = append(before, r)
		}
	}
	l.records = before
	l.signal()
}

func (l *listener[M]) put(r record[M]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.sequence <= l.known {
		return
	}
	l.records = append(l.records, r)
	l.signal()
}

func (l *listener[M]) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	l.signal()
}

func (l *listener[M]) signal() {
	select {
	case l.came <- struct{}{}:
	default:
	}
}

// take returns what has come since, in order, and then how the log ended.
func (l *listener[M]) take() ([]record[M], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	records := l.records
	l.records = nil
	if len(records) > 0 {
		if l.err != nil {
			l.signal()
		}
		return records, nil
	}
	return nil, l.err
}

// close ends the listening. It may be nil.
func (l *listener[M]) close() {
	if l == nil {
		return
	}
	l.tap.mu.Lock()
	defer l.tap.mu.Unlock()
	here := l.tap.listeners[l.id]
	delete(here, l)
	if len(here) == 0 {
		delete(l.tap.listeners, l.id)
	}
}

func lostLog(subject string, err error) error {
	if errors.Is(err, broker.ErrGap) || errors.Is(err, broker.ErrClaimLost) {
		return &crash{lost: true, reason: fmt.Sprintf("the log %s has lost entries: %v", subject, err)}
	}
	return fmt.Errorf("follow %s: %w", subject, err)
}
