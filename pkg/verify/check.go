package verify

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// batchLeaves is how many leaves are asked for in one request.
const batchLeaves = 200

// check compares documents and adds their verdicts.
func (c *comparison) check(ctx context.Context, pairs []pair) error {
	verdicts := make([]verdict, len(pairs))
	var shared []sharedLeaf
	var extra []extraLeaf
	for i, p := range pairs {
		v, revs := compareLeafSets(p)
		if c.chosen != nil {
			var more []string
			v, revs, more = compareChosen(p)
			for _, rev := range more {
				extra = append(extra, extraLeaf{ref: ref{id: p.id, rev: rev}, of: &verdicts[i]})
			}
		}
		verdicts[i] = v
		for _, rev := range revs {
			shared = append(shared, sharedLeaf{ref: ref{id: p.id, rev: rev}, of: &verdicts[i], sum: p.a.sumOf(rev)})
		}
	}
	for leaves := range slices.Chunk(extra, batchLeaves) {
		if err := c.classify(ctx, leaves); err != nil {
			return err
		}
	}
	if c.options.Bodies {
		// A document may have more leaves than a request can ask for.
		for leaves := range slices.Chunk(shared, batchLeaves) {
			if err := c.checkLeaves(ctx, leaves); err != nil {
				return err
			}
		}
	}
	for _, v := range verdicts {
		c.tally.add(v)
	}
	c.options.Progress.Compared.Add(int64(len(pairs)))
	return nil
}

// sharedLeaf is a leaf that both databases have, and its document's verdict.
type sharedLeaf struct {
	ref
	of  *verdict
	sum *sum // of A's, where that has been looked at
}

// compareLeafSets compares what the feeds say of a document, and returns the leaves
// that both have.
func compareLeafSets(p pair) (verdict, []string) {
	v := verdict{id: p.id}
	switch {
	case p.a == nil && p.b == nil: // purged from both before it was looked at again
		return v, nil
	case p.a == nil:
		v.documentB, v.leavesB = true, int64(len(p.b.leaves))
		v.differ(Difference{Kind: MissingDocument, Side: A, Revs: p.b.leaves})
		return v, nil
	case p.b == nil:
		v.documentA, v.leavesA = true, int64(len(p.a.leaves))
		v.differ(Difference{Kind: MissingDocument, Side: B, Revs: p.a.leaves})
		return v, nil
	}
	v.documentA, v.leavesA = true, int64(len(p.a.leaves))
	v.documentB, v.leavesB = true, int64(len(p.b.leaves))
	onlyA, shared, onlyB := split(p.a.leaves, p.b.leaves)
	v.shared = int64(len(shared))
	if len(onlyA) > 0 {
		v.differ(Difference{Kind: MissingLeaf, Side: B, Revs: onlyA})
	}
	if len(onlyB) > 0 {
		v.differ(Difference{Kind: MissingLeaf, Side: A, Revs: onlyB})
	}
	if p.a.deleted != p.b.deleted {
		v.differ(Difference{Kind: WinnerDeleted, A: fmt.Sprint(p.a.deleted), B: fmt.Sprint(p.b.deleted)})
	}
	return v, shared
}

// split compares two sorted lists.
func split(a, b []string) (onlyA, both, onlyB []string) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			onlyA, a = append(onlyA, a[0]), a[1:]
		case len(a) == 0 || b[0] < a[0]:
			onlyB, b = append(onlyB, b[0]), b[1:]
		default:
			both, a, b = append(both, a[0]), a[1:], b[1:]
		}
	}
	return onlyA, both, onlyB
}

// checkLeaves opens leaves in both databases and adds to their verdicts.
func (c *comparison) checkLeaves(ctx context.Context, leaves []sharedLeaf) error {
	if c.readA != nil {
		var err error
		if leaves, err = c.checkSums(ctx, leaves); err != nil || len(leaves) == 0 {
			return err
		}
	}
	refs := refsOf(leaves)
	var gotA, gotB map[ref]leaf
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		gotA, err = c.a.fetch(ctx, refs)
		return err
	})
	group.Go(func() (err error) {
		gotB, err = c.b.fetch(ctx, refs)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	for _, l := range leaves {
		found, err := compareLeaves(gotA[l.ref], gotB[l.ref])
		if err != nil {
			return fmt.Errorf("compare %q %s: %w", l.id, l.rev, err)
		}
		l.of.differLeaf(l.rev, found)
	}
	return nil
}

func refsOf(leaves []sharedLeaf) []ref {
	refs := make([]ref, len(leaves))
	for i, l := range leaves {
		refs[i] = l.ref
	}
	return refs
}

// checkSums opens leaves in B alone, and returns those that may not be the same as A's, which was read
// before. They may be nevertheless: a history may be another's beginning.
func (c *comparison) checkSums(ctx context.Context, leaves []sharedLeaf) ([]sharedLeaf, error) {
	got, err := c.b.fetch(ctx, refsOf(leaves))
	if err != nil {
		return nil, err
	}
	var open []sharedLeaf
	for _, l := range leaves {
		if found := got[l.ref]; l.sum == nil || found.refusal != "" || found.sum() != *l.sum {
			open = append(open, l)
		}
	}
	return open, nil
}
