package revtree

import "slices"

// Missing returns those of the revisions that the tree does not know, in order,
// and the leaves that may be their ancestors: those of a lower generation than
// one of the missing. That is what _revs_diff answers. A revision known by name
// only is not missing.
func (t Tree[V]) Missing(revs []Rev) (missing, possibleAncestors []Rev) {
	highest := 0
	for _, rev := range revs {
		if t.Find(rev) == nil {
			missing = append(missing, rev)
			highest = max(highest, rev.Pos)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	slices.SortFunc(missing, Rev.Compare)
	missing = slices.Compact(missing)
	for i := range t.nodes {
		if n := &t.nodes[i]; !n.inner && int(n.pos) < highest {
			possibleAncestors = append(possibleAncestors, n.Rev())
		}
	}
	return missing, possibleAncestors
}

// LeavesFrom returns the leaves that descend from a revision, the revision
// itself if it is a leaf, winners first: what open_revs with latest=true opens.
// It is empty if the tree does not know the revision.
func (t Tree[V]) LeavesFrom(rev Rev) []*Node[V] {
	at, ok := find(t.nodes, rev)
	if !ok {
		return nil
	}
	if !t.nodes[at].inner {
		return []*Node[V]{&t.nodes[at]}
	}
	var leaves []*Node[V]
	for _, leaf := range t.Leaves() {
		if t.descends(leaf, at) {
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// descends says whether a node has the node at an index among its ancestors.
func (t Tree[V]) descends(n *Node[V], ancestor int) bool {
	for n.parent != noParent {
		if int(n.parent) == ancestor {
			return true
		}
		n = &t.nodes[n.parent]
	}
	return false
}
