package broker

import (
	"context"
	"slices"
	"sync"
)

// slots decides which messages may be on their way to a subject: the oldest, at most as many
// as the subject can hold. So a burst into a bounded subject is not refused many times
// over (at 256 KB a refusal costs half a millisecond of CPU), and what the broker has refused
// is not overtaken, again and again, by what came later and finds the room
// first: the batches of a run are done in about the order of the feed, or its
// watermark stands.
type slots struct {
	mu       sync.Mutex
	subjects map[string]*line
}

// line is the messages to one subject that the broker does not have yet, oldest first. It
// exists while there are any.
type line struct {
	slots   *slots
	subject string
	limit   int
	turns   []*turn
	// open is how many of them, from the front, may be on their way. It falls to one when
	// the broker refuses a message, because the subject is full, and doubles whenever it
	// takes the oldest.
	open    int
	refused int           // how many stand refused
	full    chan struct{} // closed when refused leaves 0; made on demand
}

// turn is one message's place in the line; nil where the subject has no limit.
type turn struct {
	line    *line
	come    chan struct{} // closed while the message may be sent
	on      bool          // the message may be sent
	refused bool          // the broker refused it last
}

// acquire takes a place in a subject's line, and waits until the message may be sent. A
// limit of 0 is none. Whoever has a turn calls leave.
func (s *slots) acquire(ctx context.Context, subject string, limit int) (*turn, error) {
	return s.take(ctx, subject, limit, true)
}

// tryAcquire is acquire, except that it does not wait for a subject that was
// found full: the error is then [ErrSubjectFull].
func (s *slots) tryAcquire(ctx context.Context, subject string, limit int) (*turn, error) {
	return s.take(ctx, subject, limit, false)
}

func (s *slots) take(ctx context.Context, subject string, limit int, patient bool) (*turn, error) {
	if limit == 0 {
		return nil, nil
	}
	s.mu.Lock()
	l := s.line(subject, limit)
	if !patient && l.refused > 0 {
		s.mu.Unlock()
		return nil, ErrSubjectFull
	}
	t := l.join()
	come := t.come
	var full <-chan struct{}
	if !patient {
		full = l.watch()
	}
	s.mu.Unlock()

	var err error
	select {
	case <-come:
		return t, nil
	case <-full:
		err = ErrSubjectFull
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.leave(false)
	return nil, err
}

// join takes the last place in the line.
func (l *line) join() *turn {
	t := &turn{line: l, come: make(chan struct{})}
	l.turns = append(l.turns, t)
	l.admit()
	return t
}

// refuse notes that the broker refused the message because the subject is full. It reports
// whether the message is the oldest, and may be tried again; others wait for their turn.
func (t *turn) refuse() (oldest bool) {
	if t == nil {
		return true
	}
	l := t.line
	l.slots.mu.Lock()
	defer l.slots.mu.Unlock()
	if !t.refused {
		t.refused = true
		l.refused++
		if l.refused == 1 && l.full != nil {
			close(l.full)
			l.full = nil
		}
	}
	l.open = 1
	if l.turns[0] == t {
		return true
	}
	t.on, t.come = false, make(chan struct{})
	return false
}

// wait waits until the message may be sent again; the error is ctx's.
func (t *turn) wait(ctx context.Context) error {
	t.line.slots.mu.Lock()
	come := t.come
	t.line.slots.mu.Unlock()
	select {
	case <-come:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave gives the place up; sent says that the broker has the message, and so
// that it may have room for more.
func (t *turn) leave(sent bool) {
	if t == nil {
		return
	}
	l := t.line
	l.slots.mu.Lock()
	defer l.slots.mu.Unlock()
	at := slices.Index(l.turns, t)
	l.turns = slices.Delete(l.turns, at, at+1)
	if t.refused {
		l.refused--
	}
	if sent && at == 0 { // others were on their way already, and may have taken the room that it needs
		l.open = min(2*l.open, l.limit)
	}
	l.admit()
	if len(l.turns) == 0 {
		delete(l.slots.subjects, l.subject)
	}
}

// admit tells those at the front that their messages may be sent.
func (l *line) admit() {
	for _, t := range l.turns[:min(l.open, len(l.turns))] {
		if !t.on {
			t.on = true
			close(t.come)
		}
	}
}

func (s *slots) line(subject string, limit int) *line {
	if s.subjects == nil {
		s.subjects = make(map[string]*line)
	}
	l := s.subjects[subject]
	if l == nil {
		l = &line{slots: s, subject: subject, limit: limit, open: limit}
		s.subjects[subject] = l
	}
	return l
}

func (l *line) watch() <-chan struct{} {
	if l.full == nil {
		l.full = make(chan struct{})
	}
	return l.full
}
