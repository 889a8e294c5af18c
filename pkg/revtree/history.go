package revtree

import "slices"

// Stem forgets the ancestors that are limit or more generations above every
// leaf below them, as CouchDB does at a database's _revs_limit. A limit under 1
// counts as 1: leaves are never forgotten.
func (t Tree[V]) Stem(limit int) Tree[V] {
	if len(t.nodes) <= max(limit, 1) {
		return t
	}
	keep := make([]bool, len(t.nodes))
	for i := range t.nodes {
		if !t.nodes[i].inner {
			t.markUp(keep, i, max(limit, 1))
		}
	}
	return t.only(keep)
}

// Remove takes leaves out, and of their ancestors those that no other leaf has:
// what CouchDB's _purge does. Revisions that are not leaves are passed over;
// removed holds the others.
func (t Tree[V]) Remove(revs []Rev) (rest Tree[V], removed []Rev) {
	keep := make([]bool, len(t.nodes))
	for i := range t.nodes {
		n := &t.nodes[i]
		if n.inner {
			continue
		}
		if slices.Contains(revs, n.Rev()) {
			removed = append(removed, n.Rev())
			continue
		}
		t.markUp(keep, i, len(t.nodes))
	}
	if len(removed) == 0 {
		return t, nil
	}
	return t.only(keep), removed
}

// Compact drops the values of all revisions that are not leaves, as CouchDB's
// compaction does. dropped is how many there were.
func (t Tree[V]) Compact() (compacted Tree[V], dropped int) {
	for i := range t.nodes {
		if t.nodes[i].inner && t.nodes[i].present {
			dropped++
		}
	}
	if dropped == 0 {
		return t, 0
	}
	nodes := slices.Clone(t.nodes)
	for i := range nodes {
		if nodes[i].inner {
			var none V
			nodes[i].value, nodes[i].present = none, false
		}
	}
	return Tree[V]{nodes: nodes}, dropped
}

// markUp marks a node and its ancestors, at most count nodes in all.
func (t Tree[V]) markUp(keep []bool, at, count int) {
	for ; count > 0; count-- {
		keep[at] = true
		parent := t.nodes[at].parent
		if parent == noParent {
			return
		}
		at = int(parent)
	}
}

// only is the tree with the marked nodes alone.
func (t Tree[V]) only(keep []bool) Tree[V] {
	moved := make([]int32, len(t.nodes))
	nodes := make([]Node[V], 0, len(t.nodes))
	for i := range t.nodes {
		moved[i] = noParent
		if keep[i] {
			moved[i] = int32(len(nodes))
			nodes = append(nodes, t.nodes[i])
		}
	}
	if len(nodes) == len(t.nodes) {
		return t
	}
	for i := range nodes {
		if p := nodes[i].parent; p != noParent {
			nodes[i].parent = moved[p]
		}
	}
	return Tree[V]{nodes: nodes}
}
