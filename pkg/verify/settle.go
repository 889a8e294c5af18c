package verify

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/couch"
	"millrace/pkg/pause"
)

// settle looks again at the documents that differed, while that may make a
// difference: a database has moved, or is given time to.
func (c *comparison) settle(ctx context.Context) error {
	for {
		moved, err := c.haveMoved(ctx)
		if err != nil {
			return err
		}
		c.moved = c.moved || moved
		again := len(c.tally.suspects) > 0 && (moved || c.options.Settle)
		if !again || c.tally.tooMany || c.rechecks == c.options.Rechecks {
			c.unsettled = moved && c.tally.differing.differences > 0
			return nil
		}
		c.rechecks++
		if err := pause.For(ctx, c.options.RecheckInterval); err != nil {
			return err
		}
		if err := c.recheck(ctx, c.tally.retry()); err != nil {
			return err
		}
	}
}

// haveMoved asks both databases where they stand.
func (c *comparison) haveMoved(ctx context.Context) (bool, error) {
	movedA, err := c.a.moved(ctx)
	if err != nil {
		return false, err
	}
	movedB, err := c.b.moved(ctx)
	return movedA || movedB, err
}

// recheck compares documents as they are now.
func (c *comparison) recheck(ctx context.Context, ids []string) error {
	for batch := range slices.Chunk(ids, batchLeaves) {
		pairs, err := c.current(ctx, batch)
		if err != nil {
			return err
		}
		if err := c.check(ctx, pairs); err != nil {
			return err
		}
	}
	return nil
}

// current reads documents of both databases, each by itself: the filter _doc_ids
// reads a whole feed where there are shards, and _bulk_get without a revision
// means all leaves to some servers and the winner to others.
func (c *comparison) current(ctx context.Context, ids []string) ([]pair, error) {
	pairs := make([]pair, len(ids))
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(2 * c.options.Concurrency) // one for each side
	for i, id := range ids {
		pairs[i].id = id
		group.Go(func() (err error) {
			pairs[i].a, err = c.a.current(reading, id)
			return err
		})
		group.Go(func() (err error) {
			pairs[i].b, err = c.b.current(reading, id)
			return err
		})
	}
	if err := group.Wait(); err != nil || c.chosen == nil {
		return pairs, err
	}
	return pairs, c.choose(ctx, pairs)
}

// choose leaves of A's leaves those that belong into B.
func (c *comparison) choose(ctx context.Context, pairs []pair) error {
	chosen := map[string]*row{}
	r := newReading(c.a, []*group{c.chosen}, func(_ *group, id string, found row) error {
		chosen[id] = &found
		return nil
	})
	var rows []couch.Row
	for _, p := range pairs {
		if p.a != nil {
			rows = append(rows, couch.Row{ID: p.id, Revs: p.a.leaves, Deleted: p.a.deleted})
		}
	}
	for some := range slices.Chunk(rows, batchLeaves) {
		if err := r.decide(ctx, some); err != nil {
			return err
		}
	}
	for i := range pairs {
		pairs[i].a = chosen[pairs[i].id]
	}
	return c.chosen.failure()
}
