package verify

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/couch"
)

// Compare compares two databases. That they differ is no error but in the report.
// The error for a database that cannot be read is a [ReadError].
func Compare(ctx context.Context, a, b *couch.DB, o Options) (*Report, error) {
	o = o.withDefaults()
	c := &comparison{
		options: o,
		a:       &side{name: A, db: a, progress: o.Progress},
		b:       &side{name: B, db: b, progress: o.Progress},
		tally:   tally{shownLimit: o.Shown, suspectLimit: o.RecheckLimit},
	}
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	return c.report(), nil
}

// comparison is one comparison under way.
type comparison struct {
	options Options
	a, b    *side
	// chosen is what of A belongs into B; nil for all, and what B has beside that is missing at A.
	chosen *group
	// readA returns A's rows in their order, where A is read for several; nil otherwise.
	readA func() records
	tally tally

	moved, unsettled bool
	rechecks         int
}

func (c *comparison) run(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	if err := c.compareAll(ctx); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	return c.explain(ctx)
}

// begin notes where the databases stand; A, where it was read before, has been asked then.
func (c *comparison) begin(ctx context.Context) error {
	if c.readA != nil {
		return c.b.begin(ctx)
	}
	return c.both(ctx, (*side).begin)
}

// both does something with both databases at once.
func (c *comparison) both(ctx context.Context, do func(*side, context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return do(c.a, ctx) })
	group.Go(func() error { return do(c.b, ctx) })
	return group.Wait()
}

// compareAll reads both feeds, and compares what they list.
func (c *comparison) compareAll(ctx context.Context) error {
	if c.readA != nil {
		rows := newSorter(c.options.TempDir, c.options.Memory/2)
		defer rows.close()
		if err := c.sort(ctx, c.b, rows); err != nil {
			return err
		}
		sorted, err := rows.sorted(ctx)
		if err != nil {
			return err
		}
		return c.compareRows(ctx, c.readA(), sorted)
	}
	rows := map[*side]*sorter{}
	for _, s := range []*side{c.a, c.b} {
		rows[s] = newSorter(c.options.TempDir, c.options.Memory/2)
		defer rows[s].close()
	}
	err := c.both(ctx, func(s *side, ctx context.Context) error { return c.sort(ctx, s, rows[s]) })
	if err != nil {
		return err
	}
	sortedA, err := rows[c.a].sorted(ctx)
	if err != nil {
		return err
	}
	sortedB, err := rows[c.b].sorted(ctx)
	if err != nil {
		return err
	}
	return c.compareRows(ctx, sortedA, sortedB)
}

// sort adds a feed's rows to a sorter.
func (c *comparison) sort(ctx context.Context, s *side, rows *sorter) error {
	var encoded []byte
	return s.feed(ctx, c.options.DocIDs, func(r couch.Row) error {
		if c.options.ignores(r.ID) {
			return nil
		}
		encoded = rowOf(r).append(encoded[:0])
		return rows.add(r.ID, encoded)
	})
}

// compareRows joins the rows and deals them out to workers in batches.
func (c *comparison) compareRows(ctx context.Context, a, b records) error {
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(c.options.Concurrency)
	var batch []pair
	size := 0
	deal := func() {
		full := batch
		batch, size = nil, 0
		workers.Go(func() error { return c.check(ctx, full) }) // waits for a free worker
	}
	err := join(a, b, func(id, rowA, rowB []byte) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if !c.options.Bodies && bytes.Equal(rowA, rowB) {
			c.matches(leafCount(rowA)) // nearly all: not even decoded
			return nil
		}
		p, err := decodePair(id, rowA, rowB)
		if err != nil {
			return err
		}
		batch = append(batch, p)
		if size += p.size(); size >= batchLeaves {
			deal()
		}
		return nil
	})
	if len(batch) > 0 && err == nil {
		deal()
	}
	if failed := workers.Wait(); failed != nil {
		return failed // it is what ended the join, too
	}
	return err
}

// matches counts a document with so many leaves on both sides that is the same.
func (c *comparison) matches(leaves int64) {
	c.options.Progress.Compared.Add(1)
	c.tally.add(verdict{documentA: true, documentB: true, leavesA: leaves, leavesB: leaves, shared: leaves})
}

func (c *comparison) report() *Report {
	total := c.tally.same.plus(c.tally.differing)
	r := &Report{
		Filtered:        c.chosen != nil,
		Left:            c.tally.allLeft(),
		Same:            total.differences == 0,
		A:               total.a,
		B:               total.b,
		Counts:          total.Counts,
		Bodies:          c.options.Bodies,
		Moved:           c.moved,
		Rechecks:        c.rechecks,
		Unsettled:       c.unsettled,
		DifferenceCount: total.differences,
		Differences:     append([]Difference{}, c.tally.shown...), // [] in JSON where there are none
	}
	r.A.identify(c.a)
	r.B.identify(c.b)
	return r
}

func (r *SideReport) identify(s *side) {
	r.Database, r.SeqBefore, r.SeqAfter = s.db.String(), s.began, s.seq
}

// pair is a document in both databases; nil where it is not there.
type pair struct {
	id   string
	a, b *row
}

func decodePair(id, rowA, rowB []byte) (p pair, err error) {
	p.id = string(id)
	if p.a, err = decodeSide(rowA); err != nil {
		return p, fmt.Errorf("row of %q: %w", id, err)
	}
	if p.b, err = decodeSide(rowB); err != nil {
		return p, fmt.Errorf("row of %q: %w", id, err)
	}
	return p, nil
}

func decodeSide(encoded []byte) (*row, error) {
	if encoded == nil {
		return nil, nil
	}
	r, err := decodeRow(encoded)
	return &r, err
}

// size is what the pair adds to a batch.
func (p pair) size() int {
	n := 1
	if p.a != nil {
		n = max(n, len(p.a.leaves))
	}
	if p.b != nil {
		n = max(n, len(p.b.leaves))
	}
	return n
}
