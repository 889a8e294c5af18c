// Package compare says whether two databases hold the same: the same leaves of
// every document, with the same histories, bodies and attachments. It is the judge
// of the black-box tests and of `millrace verify`, so it shares nothing with
// either, and reads in the plainest way there is: _changes for the documents, and
// for each document all its leaves, as JSON.
//
// Neither database may be written to meanwhile. What replication does not promise
// is not looked at: _local documents, _security, seqs, and revisions that are no
// leaves.
package compare

import (
	"context"
	"maps"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"millrace/e2e/peer"
)

// Options says what may differ. The zero value: nothing.
type Options struct {
	// Numbers is what must be the same of a number. Default: Text.
	Numbers Numbers
	// AnyKeyOrder: the keys of an object may come in any order.
	AnyKeyOrder bool
	// AnyEncoding: an attachment may be stored compressed on one side and plain, or
	// compressed otherwise, on the other. Its bytes must be the same all the same,
	// and its digest where neither side compresses it.
	AnyEncoding bool
	// AnyRevpos: an attachment may have another revpos.
	AnyRevpos bool
	// Forgotten: one side may remember fewer ancestors than the other (_revs_limit).
	Forgotten bool
	// Wanted says which documents of the first database are expected in the second,
	// which must have no others. Default: all.
	Wanted func(id string) bool
	// LeavesOnly compares which leaves there are, from _changes, and opens nothing.
	LeavesOnly bool
	// Concurrency is how many documents are opened at a time. Default: 8.
	Concurrency int
}

const defaultConcurrency = 8

// For returns the strictest options that a faithful replication between the two
// servers can meet.
func For(p peer.Pair) Options {
	o := Options{AnyRevpos: !p.Target.Revpos}
	if p.Source.Kind == p.Target.Kind {
		return o // what a server has stored once, it keeps as it is
	}
	shared := p.Shared()
	o.AnyKeyOrder = !shared.KeyOrder
	// Whoever compresses does it in its own way.
	o.AnyEncoding = p.Source.TextCompression || p.Target.TextCompression || !shared.EncodedAttachments
	switch shared.Numbers {
	case peer.AsWritten:
		o.Numbers = Text
	case peer.ByValue:
		o.Numbers = Value
	default:
		o.Numbers = Float64
	}
	return o
}

// Databases compares the databases at two URLs, with credentials in them. Errors
// are failures to read; what differs is in the report.
func Databases(ctx context.Context, a, b string, o Options) (Report, error) {
	first, err := open(a)
	if err != nil {
		return Report{}, err
	}
	defer first.close()
	second, err := open(b)
	if err != nil {
		return Report{}, err
	}
	defer second.close()
	c := &comparison{a: first, b: second, options: o}
	return c.run(ctx)
}

// Require fails the test, with the first differences, unless the databases are
// the same.
func Require(t testing.TB, a, b string, o Options) {
	t.Helper()
	report, err := Databases(t.Context(), a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Same() {
		t.Fatal(report)
	}
}

// comparison is one comparison under way.
type comparison struct {
	a, b    *database
	options Options
	report  collector
}

func (c *comparison) run(ctx context.Context) (Report, error) {
	rowsA, err := c.a.changes(ctx)
	if err != nil {
		return Report{}, err
	}
	rowsB, err := c.b.changes(ctx)
	if err != nil {
		return Report{}, err
	}
	if wanted := c.options.Wanted; wanted != nil {
		maps.DeleteFunc(rowsA, func(id string, _ row) bool { return !wanted(id) })
	}
	var both []string
	for id, a := range rowsA {
		b, there := rowsB[id]
		if !there {
			c.report.differ(id, "", "document", a.String(), absent)
			continue
		}
		c.compareRows(id, a, b)
		both = append(both, id)
	}
	for id, b := range rowsB {
		if _, there := rowsA[id]; !there {
			c.report.differ(id, "", "document", absent, b.String())
		}
	}
	if !c.options.LeavesOnly {
		slices.Sort(both)
		err = c.openAll(ctx, both, rowsA, rowsB)
	}
	return c.report.finish(), err
}

// compareRows compares what _changes says of a document.
func (c *comparison) compareRows(id string, a, b row) {
	c.report.count(func(r *Report) { r.Documents++ })
	if a.deleted != b.deleted {
		c.report.differ(id, "", "deleted in _changes", a.String(), b.String())
	}
	if c.options.LeavesOnly {
		c.report.count(func(r *Report) { r.Leaves += len(a.leaves) })
		c.compareSets(id, "leaf in _changes", a.leaves, b.leaves)
	}
}

// compareSets reports the members that only one of two sorted lists has.
func (c *comparison) compareSets(id, what string, a, b []string) {
	for _, v := range a {
		if _, there := slices.BinarySearch(b, v); !there {
			c.report.differ(id, v, what, "there", absent)
		}
	}
	for _, v := range b {
		if _, there := slices.BinarySearch(a, v); !there {
			c.report.differ(id, v, what, absent, "there")
		}
	}
}

// openAll opens the documents that both databases have.
func (c *comparison) openAll(ctx context.Context, ids []string, rowsA, rowsB map[string]row) error {
	group, ctx := errgroup.WithContext(ctx)
	limit := c.options.Concurrency
	if limit <= 0 {
		limit = defaultConcurrency
	}
	group.SetLimit(limit)
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			a, err := c.open(ctx, c.a, id, rowsA[id])
			if err != nil {
				return err
			}
			b, err := c.open(ctx, c.b, id, rowsB[id])
			if err != nil {
				return err
			}
			c.compareLeaves(id, a, b)
			return nil
		})
	}
	return group.Wait()
}

// open reads a document's leaves. That _changes and the document disagree on
// which there are is a difference of a database from itself.
func (c *comparison) open(ctx context.Context, db *database, id string, r row) (map[string]leaf, error) {
	leaves, err := db.leaves(ctx, id)
	if err != nil {
		return nil, err
	}
	side := "first"
	if db == c.b {
		side = "second"
	}
	c.compareSets(id, "leaf in the "+side+" database (_changes, then open_revs)", r.leaves, slices.Sorted(maps.Keys(leaves)))
	return leaves, nil
}

// compareLeaves compares all leaves of one document.
func (c *comparison) compareLeaves(id string, a, b map[string]leaf) {
	c.compareSets(id, "leaf", slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
	for rev, leafA := range a {
		leafB, there := b[rev]
		if !there {
			continue
		}
		c.report.count(func(r *Report) {
			r.Leaves++
			r.Attachments += len(leafA.attachments)
		})
		for _, d := range compareLeaf(leafA, leafB, c.options) {
			c.report.differ(id, rev, d.What, d.A, d.B)
		}
	}
}
