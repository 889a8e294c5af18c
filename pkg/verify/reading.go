package verify

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/couch"
	"millrace/pkg/routing"
)

// pieceBytes is how many bytes of documents wait for functions to look at them (invariant 5).
const pieceBytes = 1 << 20

// reading decides for groups what of a source they choose, leaf by leaf, as the source's own
// `_changes?filter=…&style=all_docs` would. A document is read once, however many groups there are, and
// not at all where its id decides.
type reading struct {
	side *side
	// bodies makes the rows have sums.
	bodies bool
	// plain groups do not look into documents; the selectors' index finds those that do by selector.
	plain, functions []*group
	selectors        *routing.Index[*group]
	looking          bool // there are groups that look into documents

	mu   sync.Mutex // held while emit runs
	emit func(g *group, id string, r row) error
}

func newReading(s *side, groups []*group, emit func(*group, string, row) error) *reading {
	r := &reading{side: s, selectors: &routing.Index[*group]{}, emit: emit}
	for _, g := range groups {
		switch {
		case !g.filter.NeedsBody():
			r.plain = append(r.plain, g)
			continue
		case g.filter.Selector() != nil:
			r.selectors.Add(g, g.filter.Selector())
		default:
			r.functions = append(r.functions, g)
		}
		r.looking = true
	}
	return r
}

// all reads the whole source.
func (r *reading) all(ctx context.Context, o Options) error {
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(o.Concurrency)
	var batch []couch.Row
	leaves := 0
	deal := func() {
		full := batch
		batch, leaves = nil, 0
		workers.Go(func() error { return r.decide(ctx, full) })
	}
	err := r.side.feed(ctx, o.DocIDs, func(row couch.Row) error {
		if o.ignores(row.ID) || row.ID == "" { // without an id it cannot be asked for
			return context.Cause(ctx)
		}
		batch = append(batch, row)
		if leaves += len(row.Revs); leaves >= batchLeaves {
			deal()
		}
		return context.Cause(ctx)
	})
	if err == nil && len(batch) > 0 {
		deal()
	}
	if failed := workers.Wait(); failed != nil {
		return failed // it is what ended the feed, too
	}
	return err
}

// seen is a leaf that was read.
type seen struct {
	deleted bool
	sum     sum
	chosen  []*group // those that look into documents
}

// decide emits a row for every group and document of which it chooses anything.
func (r *reading) decide(ctx context.Context, rows []couch.Row) error {
	var wanted []ref
	for _, row := range rows {
		if r.reads(row) {
			wanted = append(wanted, leavesOf(row)...)
		}
	}
	found := make(map[ref]*seen, len(wanted))
	for some := range slices.Chunk(wanted, batchLeaves) {
		if err := r.read(ctx, some, found); err != nil {
			return err
		}
	}
	for _, row := range rows {
		now, err := r.readable(ctx, row, found)
		if err != nil {
			return err
		}
		if now == nil {
			continue
		}
		if err := r.deal(*now, found); err != nil {
			return err
		}
	}
	return nil
}

// reads reports whether a row's leaves have to be looked at.
func (r *reading) reads(row couch.Row) bool {
	return r.looking || slices.ContainsFunc(r.plain, func(g *group) bool {
		return g.filter.WantsID(row.ID) && (r.bodies || !g.filter.WantsDeleted() && len(row.Revs) > 1)
	})
}

func leavesOf(row couch.Row) []ref {
	refs := make([]ref, len(row.Revs))
	for i, rev := range row.Revs {
		refs[i] = ref{id: row.ID, rev: rev}
	}
	return refs
}

// readable returns a row as it is now where one of its leaves could not be opened: they may have been
// edited, and compacted away, since the feed has listed them. Nil is a document that is no more.
func (r *reading) readable(ctx context.Context, row couch.Row, found map[ref]*seen) (*couch.Row, error) {
	complete := func(row couch.Row) bool {
		return !slices.ContainsFunc(leavesOf(row), func(l ref) bool { return found[l] == nil })
	}
	if !r.reads(row) || complete(row) {
		return &row, nil
	}
	now, err := r.side.current(ctx, row.ID)
	if err != nil || now == nil {
		return nil, err
	}
	row.Revs, row.Deleted = now.leaves, now.deleted
	if err := r.read(ctx, leavesOf(row), found); err != nil {
		return nil, err
	}
	if !complete(row) {
		return nil, r.side.failed(fmt.Errorf("document %q has a leaf that cannot be opened, so that no filter can decide on it", row.ID))
	}
	return &row, nil
}

// read looks at leaves. Those that the database does not give are not among what is found.
func (r *reading) read(ctx context.Context, wanted []ref, found map[ref]*seen) error {
	return persist(ctx, func() (bool, error) {
		before := len(found)
		rest := slices.DeleteFunc(slices.Clone(wanted), func(l ref) bool { return found[l] != nil })
		if len(rest) == 0 {
			return true, nil
		}
		if err := r.readInto(ctx, rest, found); err != nil {
			return len(found) > before, r.side.failed(err)
		}
		return true, nil
	})
}

func (r *reading) readInto(ctx context.Context, refs []ref, found map[ref]*seen) error {
	results, err := r.side.documents(ctx, refs)
	if err != nil {
		return err
	}
	defer func() { _ = results.Close() }() // the results are what matters
	l := looking{reading: r, found: found}
	for {
		item, err := results.Next()
		if err == io.EOF {
			return l.flush(ctx)
		}
		if err != nil {
			return err
		}
		if item.Doc == nil {
			if item.Err != nil && couch.Classify(item.Err) == couch.Transient {
				return item.Err
			}
			continue
		}
		if err := l.take(ctx, item); err != nil {
			return err
		}
	}
}

// deal emits the row for each group.
func (r *reading) deal(row couch.Row, found map[ref]*seen) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	leaves := slices.Clone(row.Revs)
	slices.Sort(leaves)
	leaves = slices.Compact(leaves)
	for _, g := range r.plain {
		if !g.filter.WantsID(row.ID) {
			continue
		}
		if err := r.give(g, row, leaves, found); err != nil {
			return err
		}
	}
	byGroup := map[*group][]string{}
	for _, rev := range leaves {
		l := found[ref{id: row.ID, rev: rev}]
		if l == nil {
			continue // nobody looks into it
		}
		for _, g := range l.chosen {
			byGroup[g] = append(byGroup[g], rev)
		}
	}
	for g, revs := range byGroup {
		if err := r.give(g, row, revs, found); err != nil {
			return err
		}
	}
	return nil
}

// give emits a row with these leaves, but for those that a group does not want for being deleted.
func (r *reading) give(g *group, of couch.Row, leaves []string, found map[ref]*seen) error {
	out := row{deleted: true}
	for _, rev := range leaves {
		l := found[ref{id: of.ID, rev: rev}]
		deleted := of.Deleted
		if l != nil {
			deleted = l.deleted
		}
		if deleted && !g.filter.WantsDeleted() {
			continue
		}
		out.leaves = append(out.leaves, rev)
		out.deleted = out.deleted && deleted
		if r.bodies && l != nil {
			out.sums = append(out.sums, l.sum)
		}
	}
	if len(out.leaves) == 0 {
		return nil
	}
	return r.emit(g, of.ID, out)
}
