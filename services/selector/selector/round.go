package selector

import (
	"context"
	"errors"
	"sync"

	millracev1 "millrace/proto/millrace/v1"
)

// rounds bring together jobs that want the same batch decided on again: where its documents are too many to
// be kept, each job would read all of them for itself. Who comes while a round reads takes part in the
// next.
type rounds struct {
	mu   sync.Mutex
	open map[batchKey]*round
}

// round is one reading of a batch, for all who had come before it began.
type round struct {
	v *view // of who began it
	// members take part; none is added once the round is not open any more.
	members map[*member]bool
	done    chan struct{}
	choice  *choosing
	err     error
	// over: it was given up with the call that began it, and those who wait begin another.
	over bool
}

// suits reports whether a job can take part: it must be one whose filter delays nobody.
func suits(m *member) bool {
	if m.filter == nil {
		return false
	}
	s := m.filter.Selector()
	return s != nil && !s.HasPattern()
}

// join returns a round that the member takes part in, and whether it has to do the reading; nil if it can
// not take part in the one that is open.
func (r *rounds) join(key batchKey, v *view, m *member) (in *round, begins bool, as *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if there := r.open[key]; there != nil {
		as := there.v.byJob[m.entry.Job]
		if as == nil || as.gone() || as.entry.Run != m.entry.Run || !suits(as) {
			return nil, false, nil
		}
		there.members[as] = true
		return there, false, as
	}
	in = &round{v: v, members: map[*member]bool{m: true}, done: make(chan struct{})}
	r.open[key] = in
	return in, true, m
}

// close lets nobody join any more.
func (r *rounds) close(key batchKey, in *round) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[key] == in {
		delete(r.open, key)
	}
}

// lookTogether decides on a batch for one job, with all others that want the same just now. The
// member that it returns is the job's in the decision.
func (svc *Service) lookTogether(ctx context.Context, v *view, m *member, b *millracev1.ChangesBatch) (*choosing, *member, error) {
	key := batchKey{b.Feed, b.Ordinal}
	for {
		in, begins, as := svc.rounds.join(key, v, m)
		if in == nil {
			c, err := svc.look(ctx, v, m, b)
			return c, m, err
		}
		if begins {
			svc.decide(ctx, key, in, b)
		}
		select {
		case <-in.done:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
		if !in.over || begins {
			return in.choice, as, in.err
		}
	}
}

// decide is a round: it waits until nobody else has the batch, and reads it for those who are there then.
func (svc *Service) decide(ctx context.Context, key batchKey, in *round, b *millracev1.ChangesBatch) {
	defer close(in.done)
	defer svc.rounds.close(key, in)
	db, err := svc.pool.DB(ctx, in.v.feed.Source)
	if err != nil {
		in.err = err
		return
	}
	k := svc.store.of(key)
	if in.err = k.take(ctx); in.err == nil {
		svc.rounds.close(key, in)
		in.choice = svc.newChoosing(in.v, nil, db)
		in.choice.only(in.members)
		in.err = svc.fromStore(ctx, k, in.choice, b)
	}
	in.over = in.err != nil && errors.Is(in.err, context.Cause(ctx))
}
