package verify

import (
	"context"
	"io"
	"slices"

	"millrace/pkg/couch"
)

// extraLeaf is a leaf that the target has and the filter does not choose at the source now, and its
// document's verdict.
type extraLeaf struct {
	ref
	of *verdict
}

// compareChosen compares what the filter chooses of a document with what the target has, and returns
// the leaves that both have, and those that the target has beside them.
func compareChosen(p pair) (v verdict, shared, extra []string) {
	v.id = p.id
	var chosen, there []string
	if p.a != nil {
		chosen, v.documentA, v.leavesA = p.a.leaves, true, int64(len(p.a.leaves))
	}
	if p.b != nil {
		there, v.documentB, v.leavesB = p.b.leaves, true, int64(len(p.b.leaves))
	}
	missing, shared, extra := split(chosen, there)
	v.shared = int64(len(shared))
	if len(missing) > 0 {
		kind := MissingLeaf
		if p.b == nil {
			kind = MissingDocument
		}
		v.differ(Difference{Kind: kind, Side: B, Revs: missing})
	}
	return v, shared, extra
}

// classify says where leaves come from that the target has beside what is chosen. What the source does
// not know is not the source's. What it knows was chosen when it came, and is what a document was
// before it left the filter; or the filter refuses it, and it should never have come (invariant 8). The
// filter says so of the target's own copy, as the source need not have it any more.
func (c *comparison) classify(ctx context.Context, leaves []extraLeaf) error {
	unknown, err := c.a.lacks(ctx, leaves)
	if err != nil {
		return err
	}
	var known []extraLeaf
	for _, l := range leaves {
		if unknown[l.ref] {
			l.of.differ(Difference{Kind: Foreign, Side: B, Revs: []string{l.rev}})
		} else {
			known = append(known, l)
		}
	}
	if len(known) == 0 {
		return nil
	}
	refused, err := c.refused(ctx, known)
	if err != nil {
		return err
	}
	for _, l := range known {
		if why, ok := refused[l.ref]; ok {
			why.Side, why.Revs = B, []string{l.rev}
			l.of.differ(why)
			continue
		}
		l.of.left = append(l.of.left, Difference{ID: l.id, Kind: LeftFilter, Side: B, Revs: []string{l.rev}})
	}
	return nil
}

// lacks asks a database which leaves it knows nothing of.
func (s *side) lacks(ctx context.Context, leaves []extraLeaf) (map[ref]bool, error) {
	var asked []couch.IDRevs
	for _, l := range leaves {
		if n := len(asked); n == 0 || asked[n-1].ID != l.id {
			asked = append(asked, couch.IDRevs{ID: l.id})
		}
		last := &asked[len(asked)-1]
		last.Revs = append(last.Revs, l.rev)
	}
	missing, err := s.db.RevsDiff(ctx, asked)
	if err != nil {
		return nil, s.failed(err)
	}
	unknown := map[ref]bool{}
	for _, m := range missing {
		for _, rev := range m.Revs {
			unknown[ref{id: m.ID, rev: rev}] = true
		}
	}
	return unknown, nil
}

// refused says which of the target's leaves the filter does not choose, or cannot see.
func (c *comparison) refused(ctx context.Context, leaves []extraLeaf) (map[ref]Difference, error) {
	refused := make(map[ref]Difference, len(leaves))
	open := map[ref]bool{}
	f := c.chosen.filter
	for _, l := range leaves {
		switch {
		case !f.WantsID(l.id):
			refused[l.ref] = Difference{Kind: Unchosen}
		case f.NeedsBody() || !f.WantsDeleted():
			open[l.ref] = true
		}
	}
	err := persist(ctx, func() (bool, error) {
		before := len(open)
		if err := c.refuse(ctx, open, refused); err != nil {
			return len(open) < before, err
		}
		return true, nil
	})
	for l := range open {
		refused[l] = Difference{Kind: Unreadable, A: "readable", B: "not in the answer"}
	}
	return refused, err
}

// refuse opens leaves at the target, and takes those off the list on which the filter has decided.
func (c *comparison) refuse(ctx context.Context, open map[ref]bool, refused map[ref]Difference) error {
	if len(open) == 0 {
		return nil
	}
	refs := make([]ref, 0, len(open))
	for l := range open {
		refs = append(refs, l)
	}
	slices.SortFunc(refs, compareRefs)
	results, err := c.b.documents(ctx, refs)
	if err != nil {
		return c.b.failed(err)
	}
	defer func() { _ = results.Close() }() // the results are what matters
	for {
		item, err := results.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return c.b.failed(err)
		}
		if item.Doc == nil {
			if item.Err != nil && couch.Classify(item.Err) == couch.Transient {
				return c.b.failed(item.Err)
			}
			continue
		}
		chosen, err := c.chosen.filter.Match(ctx, item.Meta, item.Doc)
		if err != nil {
			return err
		}
		at := ref{id: item.ID, rev: item.Meta.Rev}
		if delete(open, at); !chosen {
			refused[at] = Difference{Kind: Unchosen}
		}
	}
}
