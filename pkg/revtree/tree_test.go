package revtree

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write is one revision as a replicator writes it.
type write struct {
	path    Path
	deleted bool
}

func (w write) String() string {
	return fmt.Sprintf("%d-%s deleted=%t", w.path.Start, strings.Join(w.path.IDs, "<"), w.deleted)
}

// grow merges writes one by one. The value of a revision is its name.
func grow(writes ...write) Tree[string] {
	var t Tree[string]
	for _, w := range writes {
		t, _, _ = t.Merge(w.path, w.deleted, w.path.Rev().String())
	}
	return t
}

func live(start int, ids ...string) write { return write{path: Path{Start: start, IDs: ids}} }
func dead(start int, ids ...string) write {
	return write{path: Path{Start: start, IDs: ids}, deleted: true}
}

// canonical writes a tree down in an order that does not depend on its making.
func canonical(t Tree[string]) string {
	lines := make([]string, 0, len(t.nodes))
	for i := range t.nodes {
		n := &t.nodes[i]
		parent := "none"
		if p := t.Parent(n); p != nil {
			parent = p.Rev().String()
		}
		lines = append(lines, fmt.Sprintf("%s<%s leaf=%t deleted=%t value=%q/%t",
			n.Rev(), parent, n.Leaf(), n.Deleted(), n.value, n.present))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// writes draws revisions out of a small history, so that they share ancestors,
// cut at the root as stemming cuts them. The last digit of a hash says whether the
// revision is deleted: a revision's content never differs between two writers.
func writes(honest bool) *rapid.Generator[[]write] {
	one := rapid.Custom(func(rt *rapid.T) write {
		depth := rapid.IntRange(1, 5).Draw(rt, "depth")
		ids := make([]string, 0, depth)
		name := ""
		for range depth {
			name += rapid.SampledFrom([]string{"a", "b", "d"}).Draw(rt, "branch")
			id := name
			if !honest {
				id = name[len(name)-1:] // the same hash under several parents
			}
			ids = append(ids, id)
		}
		slices.Reverse(ids)
		kept := rapid.IntRange(1, depth).Draw(rt, "kept")
		return write{
			path:    Path{Start: depth, IDs: ids[:kept]},
			deleted: strings.HasSuffix(ids[0], "d"),
		}
	})
	return rapid.SliceOfN(one, 1, 8)
}

func eachKindOfHistory(t *testing.T, law func(rt *rapid.T, all []write)) {
	for _, honest := range []bool{true, false} {
		t.Run(fmt.Sprintf("honest=%t", honest), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) { law(rt, writes(honest).Draw(rt, "writes")) })
		})
	}
}

func TestMergeCommutes(t *testing.T) {
	eachKindOfHistory(t, func(rt *rapid.T, all []write) {
		other := rapid.Permutation(all).Draw(rt, "order")
		if a, b := canonical(grow(all...)), canonical(grow(other...)); a != b {
			rt.Fatalf("order matters:\n%v\n%s\n\n%v\n%s", all, a, other, b)
		}
	})
}

func TestMergeIsIdempotent(t *testing.T) {
	eachKindOfHistory(t, func(rt *rapid.T, all []write) {
		tree := grow(all...)
		before := canonical(tree)
		for _, w := range all {
			again, changed, added := tree.Merge(w.path, w.deleted, "another value")
			if changed || added || canonical(again) != before {
				rt.Fatalf("merging %v again changed the tree (changed %t, added %t):\n%s\n\n%s",
					w, changed, added, before, canonical(again))
			}
		}
	})
}

func TestMergeLeavesTheOldTreeAlone(t *testing.T) {
	eachKindOfHistory(t, func(rt *rapid.T, all []write) {
		var tree Tree[string]
		for _, w := range all {
			before := canonical(tree)
			next, _, _ := tree.Merge(w.path, w.deleted, w.path.Rev().String())
			if canonical(tree) != before {
				rt.Fatalf("merging %v changed the tree that it started from", w)
			}
			tree = next
		}
	})
}

func TestLeavesAreTheRevisionsWithoutChildren(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := writes(true).Draw(rt, "writes")
		tree := grow(all...)
		inner := make(map[Rev]bool)
		heads := make(map[Rev]bool)
		for _, w := range all {
			heads[w.path.Rev()] = true
			for i := range w.path.IDs[1:] {
				inner[Rev{Pos: w.path.Start - 1 - i, Hash: w.path.IDs[i+1]}] = true
			}
		}
		leaves := tree.Leaves()
		for _, leaf := range leaves {
			if inner[leaf.Rev()] || !heads[leaf.Rev()] {
				rt.Fatalf("%v is not a leaf of %v", leaf.Rev(), all)
			}
			delete(heads, leaf.Rev())
		}
		for rev := range heads {
			if !inner[rev] {
				rt.Fatalf("%v is a leaf of %v and was not returned", rev, all)
			}
		}
		if leaves[0] != tree.Winner() {
			rt.Fatalf("first leaf %v is not the winner %v", leaves[0].Rev(), tree.Winner().Rev())
		}
	})
}

func TestStemKeepsEveryLeaf(t *testing.T) {
	eachKindOfHistory(t, func(rt *rapid.T, all []write) {
		limit := rapid.IntRange(1, 5).Draw(rt, "limit")
		tree := grow(all...)
		stemmed := tree.Stem(limit)
		if got, want := revs(stemmed.Leaves()), revs(tree.Leaves()); !slices.Equal(got, want) {
			rt.Fatalf("stemming to %d: leaves %v, want %v", limit, got, want)
		}
		if again := stemmed.Stem(limit); canonical(again) != canonical(stemmed) {
			rt.Fatalf("stemming twice is not stemming once")
		}
		if tree.Len() <= limit {
			return
		}
		for _, leaf := range stemmed.Leaves() {
			full, cut := tree.Path(tree.Find(leaf.Rev())).IDs, stemmed.Path(leaf).IDs
			if !slices.Equal(cut[:min(limit, len(full))], full[:min(limit, len(full))]) {
				rt.Fatalf("path of %v is %v, want the first %d of %v", leaf.Rev(), cut, limit, full)
			}
		}
	})
}

func TestNothingMergedIsMissing(t *testing.T) {
	eachKindOfHistory(t, func(rt *rapid.T, all []write) {
		tree := grow(all...)
		for _, w := range all {
			if missing, _ := tree.Missing([]Rev{w.path.Rev()}); len(missing) > 0 {
				rt.Fatalf("%v is missing", missing)
			}
		}
	})
}

func TestRemovingEveryLeafEmptiesTheTree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tree := grow(writes(true).Draw(rt, "writes")...)
		rest, removed := tree.Remove(revs(tree.Leaves()))
		if rest.Len() != 0 || len(removed) != len(tree.Leaves()) {
			rt.Fatalf("%d nodes are left, %d of %d leaves removed", rest.Len(), len(removed), len(tree.Leaves()))
		}
	})
}

func TestCompactKeepsLeafValuesOnly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tree := grow(writes(true).Draw(rt, "writes")...)
		compacted, _ := tree.Compact()
		for i := range compacted.nodes {
			n := &compacted.nodes[i]
			if _, ok := n.Value(); ok != n.Leaf() {
				rt.Fatalf("%v: leaf %t, value %t", n.Rev(), n.Leaf(), ok)
			}
		}
	})
}

func revs(nodes []*Node[string]) []Rev {
	out := make([]Rev, 0, len(nodes))
	for _, n := range nodes {
		out = append(out, n.Rev())
	}
	return out
}
