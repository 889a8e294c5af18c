package broker

import (
	"context"
	"sync"
)

// slots bounds how many messages are on their way to a subject at once, so that
// a burst into a bounded subject is not refused many times over: at 256 KB a
// refusal costs half a millisecond of CPU.
type slots struct {
	mu       sync.Mutex
	subjects map[string]*slotQueue
}

// slotQueue is one subject's slots. It exists while somebody uses or awaits one.
type slotQueue struct {
	used    int
	refused int             // holders whose message the broker refused last
	waiting []chan struct{} // first come, first served; closed to hand over a slot
	changed chan struct{}   // closed when refused leaves 0; made on demand
}

// acquire takes one of limit slots of a subject, waiting for its turn. A limit
// of 0 is none.
func (s *slots) acquire(ctx context.Context, subject string, limit int) error {
	return s.take(ctx, subject, limit, true)
}

// tryAcquire is acquire, except that it does not wait for a subject that was
// found full: the error is then [ErrSubjectFull].
func (s *slots) tryAcquire(ctx context.Context, subject string, limit int) error {
	return s.take(ctx, subject, limit, false)
}

func (s *slots) take(ctx context.Context, subject string, limit int, patient bool) error {
	if limit == 0 {
		return nil
	}
	s.mu.Lock()
	q := s.queue(subject)
	if !patient && q.refused > 0 {
		s.mu.Unlock()
		return ErrSubjectFull
	}
	if q.used < limit {
		q.used++
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	q.waiting = append(q.waiting, turn)
	var full <-chan struct{}
	if !patient {
		full = q.watch()
	}
	s.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-full:
		return s.giveUp(subject, turn, ErrSubjectFull)
	case <-ctx.Done():
		return s.giveUp(subject, turn, ctx.Err())
	}
}

// giveUp leaves the queue, or hands on the slot that came at the same moment.
func (s *slots) giveUp(subject string, turn chan struct{}, err error) error {
	s.mu.Lock()
	q := s.subjects[subject]
	for i, w := range q.waiting {
		if w == turn {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			s.mu.Unlock()
			return err
		}
	}
	s.mu.Unlock()
	s.release(subject, 1)
	return err
}

// release gives a slot back, to the first who waits for one.
func (s *slots) release(subject string, limit int) {
	if limit == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.subjects[subject]
	if len(q.waiting) > 0 {
		close(q.waiting[0])
		q.waiting = q.waiting[1:]
		return
	}
	q.used--
	if q.used == 0 {
		delete(s.subjects, subject)
	}
}

// refuse notes that the broker refused a holder's message because the subject is
// full; admit that it no longer stands refused.
func (s *slots) refuse(subject string, limit int) {
	if limit == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.subjects[subject]
	q.refused++
	if q.refused == 1 && q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

func (s *slots) admit(subject string, limit int) {
	if limit == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subjects[subject].refused--
}

func (s *slots) queue(subject string) *slotQueue {
	if s.subjects == nil {
		s.subjects = make(map[string]*slotQueue)
	}
	q := s.subjects[subject]
	if q == nil {
		q = &slotQueue{}
		s.subjects[subject] = q
	}
	return q
}

func (q *slotQueue) watch() <-chan struct{} {
	if q.changed == nil {
		q.changed = make(chan struct{})
	}
	return q.changed
}
