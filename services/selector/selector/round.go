package selector

import (
	"context"

	millracev1 "millrace/proto/millrace/v1"
)

// together is what came of a batch on which jobs had it decided again together: where its documents are
// too many to be kept, each of them would read all for itself.
type together struct {
	view   *view
	choice *choosing
}

// suits reports whether a job can take part: it must be one whose filter delays nobody.
func suits(m *member) bool {
	if m.filter == nil {
		return false
	}
	s := m.filter.Selector()
	return s != nil && !s.HasPattern()
}

// in returns who a job's run is in a view, which may be another than the member's own; nil if it is not there.
func (m *member) in(v *view) *member {
	as := v.byJob[m.entry.Job]
	if as == nil || as.gone() || as.entry.Run != m.entry.Run || !suits(as) {
		return nil
	}
	return as
}

// lookTogether decides on a batch for one job, with all others that want the same just now. The
// member that it returns is the job's in the decision.
func (svc *Service) lookTogether(ctx context.Context, v *view, m *member, b *millracev1.ChangesBatch) (*choosing, *member, error) {
	t, err := svc.rounds.Do(ctx, batchKey{b.Feed, b.Ordinal}, m, func(ctx context.Context, members []*member) (together, error) {
		db, err := svc.pool.DB(ctx, v.feed.Source)
		if err != nil {
			return together{}, err
		}
		some := make(map[*member]bool, len(members))
		for _, m := range members {
			if as := m.in(v); as != nil {
				some[as] = true
			}
		}
		t := together{v, svc.newChoosing(v, nil, db)}
		t.choice.only(some)
		k := svc.store.of(batchKey{b.Feed, b.Ordinal})
		if err := k.take(ctx); err != nil {
			return t, err
		}
		return t, svc.fromStore(ctx, k, t.choice, b)
	})
	if err != nil {
		return nil, nil, err
	}
	if as := m.in(t.view); as != nil {
		return t.choice, as, nil
	}
	c, err := svc.look(ctx, v, m, b) // it has joined since the view of who decided
	return c, m, err
}
