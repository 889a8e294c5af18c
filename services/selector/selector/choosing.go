package selector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/pkg/couch"
	"millrace/pkg/filter"
	"millrace/pkg/rawdoc"
	"millrace/pkg/routing"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// functionBudget is how long the functions of all jobs may take for a batch. Those that it does not
// suffice for are passed over, and replay the batch at their own pace.
const functionBudget = time.Second

// patternBudget is how long the regular expressions of one job's selector may take for a batch.
const patternBudget = 100 * time.Millisecond

// choosing is the decision about one batch for the members whose filters look into documents.
type choosing struct {
	svc *Service
	v   *view
	// alone is set when the batch is replayed for this member only: at its own pace. some are set when it is
	// for those.
	alone *member
	some  map[*member]bool
	db    *couch.DB
	out   *hander

	chosen map[*member][]*leaf
	// failed are those whose filter does, and slow those that were not done in time.
	failed   map[*member]error
	slow     map[*member]bool
	spent    time.Duration
	compiled map[*member]*filter.Filter
	pass     *routing.Pass[string]
	hits     []routing.Hit[string]
	scan     rawdoc.Scanner
}

func (svc *Service) newChoosing(v *view, alone *member, db *couch.DB) *choosing {
	c := &choosing{
		svc: svc, v: v, alone: alone, db: db, out: svc.newHander(v.feed.Id),
		chosen: map[*member][]*leaf{}, failed: map[*member]error{}, slow: map[*member]bool{},
		compiled: map[*member]*filter.Filter{}, pass: v.index.Pass(patternBudget),
	}
	if alone == nil {
		c.passOverSlowPatterns()
	}
	return c
}

// only makes the decision be for some, all of which [suits].
func (c *choosing) only(some map[*member]bool) {
	c.some = some
	for _, m := range c.v.selectors {
		if m.filter.Selector().HasPattern() {
			c.pass.Skip(m.entry.Job)
		}
	}
}

// passOverSlowPatterns leaves out those whose patterns took too long not long ago.
func (c *choosing) passOverSlowPatterns() {
	for _, m := range c.v.selectors {
		if m.filter.Selector().HasPattern() && !c.svc.functionPace.keeps(m.entry.Job) {
			c.slow[m] = true
			c.pass.Skip(m.entry.Job)
		}
	}
}

// take decides on leaves, and publishes those that somebody wants.
func (c *choosing) take(ctx context.Context, leaves []*leaf) error {
	wanted := map[*leaf]bool{}
	want := func(m *member, l *leaf) {
		c.chosen[m] = append(c.chosen[m], l)
		wanted[l] = true
	}
	if err := c.bySelectors(leaves, want); err != nil {
		return err
	}
	if err := c.byFunctions(ctx, leaves, want); err != nil {
		return err
	}
	for _, l := range leaves {
		if wanted[l] {
			if err := c.out.add(ctx, l); err != nil {
				return err
			}
		}
	}
	return c.out.flush(ctx)
}

// bySelectors decodes each document once, and finds the jobs that want it.
func (c *choosing) bySelectors(leaves []*leaf, want func(*member, *leaf)) error {
	switch {
	case c.alone != nil && (c.alone.filter == nil || c.alone.filter.Selector() == nil):
		return nil
	case c.alone == nil && len(c.v.selectors) == 0:
		return nil
	}
	for _, l := range leaves {
		doc, err := l.decoded()
		if err != nil {
			return err
		}
		if c.alone != nil {
			if c.failed[c.alone] != nil {
				return nil
			}
			if matches, err := c.alone.filter.Selector().Match(doc); err != nil {
				c.fail(c.alone, fmt.Errorf("document %q: %w", l.meta.ID, err))
			} else if matches && c.fits(c.alone.filter, l) {
				want(c.alone, l)
			}
			continue
		}
		c.hits = c.pass.Match(doc, c.hits[:0])
		for _, hit := range c.hits {
			m := c.v.byJob[hit.Job]
			switch {
			case m == nil || m.filter == nil || c.some != nil && !c.some[m]: // it has joined since, or is not concerned
			case errors.Is(hit.Err, routing.ErrTooSlow):
				c.slow[m] = true
				c.svc.functionPace.late(hit.Job)
			case hit.Err != nil:
				c.fail(m, fmt.Errorf("document %q: %w", l.meta.ID, hit.Err))
			case c.fits(m.filter, l):
				want(m, l)
			}
		}
	}
	return nil
}

func (c *choosing) fits(f *filter.Filter, l *leaf) bool { return f.WantsDeleted() || !l.meta.Deleted }

func (c *choosing) fail(m *member, err error) {
	if c.failed[m] == nil {
		c.failed[m] = err
	}
}

// byFunctions runs the functions of jobs, as long as there is time.
func (c *choosing) byFunctions(ctx context.Context, leaves []*leaf, want func(*member, *leaf)) error {
	members := c.v.functions
	switch {
	case c.some != nil:
		return nil
	case c.alone != nil:
		members = []*member{c.alone}
	}
	var docs [][]byte
	for _, m := range members {
		if m.filter != nil || c.failed[m] != nil || c.slow[m] {
			continue
		}
		if docs == nil {
			for _, l := range leaves {
				doc, err := c.scan.ForFunction(l.doc)
				if err != nil {
					return fmt.Errorf("document %q: %w", l.meta.ID, err)
				}
				docs = append(docs, doc)
			}
		}
		if err := c.byFunction(ctx, m, leaves, docs, want); err != nil {
			return err
		}
	}
	return nil
}

func (c *choosing) byFunction(ctx context.Context, m *member, leaves []*leaf, docs [][]byte, want func(*member, *leaf)) error {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if c.alone == nil {
		if c.spent >= functionBudget || !c.svc.functionPace.keeps(m.entry.Job) {
			c.slow[m] = true
			return nil
		}
		limited, cancel = context.WithTimeout(ctx, functionBudget-c.spent)
	}
	defer cancel()
	f := c.compiled[m]
	if f == nil {
		var err error
		if f, err = c.svc.functionOf(ctx, m, c.db); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.fail(m, err)
			return nil
		}
		c.compiled[m] = f
	}
	if f.Function() == nil {
		c.fail(m, errors.New("the filter has no function"))
		return nil
	}
	began := time.Now()
	answers, err := f.Function().Match(limited, docs...)
	c.spent += time.Since(began)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && limited.Err() != nil:
		c.slow[m] = true
		c.svc.functionPace.late(m.entry.Job)
		return nil
	case err != nil:
		c.fail(m, err)
		return nil
	}
	for i, chosen := range answers {
		if chosen && c.fits(f, leaves[i]) {
			want(m, leaves[i])
		}
	}
	return nil
}

// order is what a member gets of the batch; nil for nothing.
func (c *choosing) order(b *millracev1.ChangesBatch, m *member) *order {
	leaves := c.chosen[m]
	if len(leaves) == 0 {
		return nil
	}
	batch := selected(b, m.entry, nil)
	var row *millracev1.Row
	for _, l := range leaves {
		if row == nil || row.Id != l.meta.ID {
			row = &millracev1.Row{Id: l.meta.ID}
			batch.Rows = append(batch.Rows, row)
		}
		row.Revs = append(row.Revs, l.meta.Rev)
		row.Deleted = l.meta.Deleted
	}
	batch.Bodies = references(leaves)
	return &order{m.entry, batch}
}

// report tells a job what is wrong with its filter, or with its source.
func (svc *Service) report(ctx context.Context, b *millracev1.ChangesBatch, m *member, err error) error {
	pos := &millracev1.Position{Job: m.entry.Job, Run: m.entry.Run, Feed: b.Feed, Epoch: b.Epoch, Ordinal: b.Ordinal}
	if failed := svc.stage.Fail(ctx, pos, err); !errors.Is(failed, err) && !errors.Is(failed, stage.ErrOver) {
		return failed
	}
	return nil
}
