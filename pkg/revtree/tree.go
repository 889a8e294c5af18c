package revtree

import (
	"slices"
)

// Tree is the revision tree of one document. The zero Tree is empty. V is what
// is kept with a revision; it is absent for revisions known by name only.
//
// A tree is a set of nodes joined by parent links. Its laws hold because each
// property of a node only ever grows: a node once known stays, a node that ever
// had a child is never a leaf again, and of two parents claimed for one revision
// (which honest peers never produce) the greater one stands.
type Tree[V any] struct {
	nodes []Node[V]
}

// Node is one revision in a tree. Callers read it and never change it.
type Node[V any] struct {
	hash    string
	value   V
	pos     int32
	parent  int32 // index in the tree's nodes; noParent if not known
	inner   bool  // a child of it is or was known
	present bool  // value is set
	deleted bool
}

const noParent = -1

// Rev is the revision's name.
func (n *Node[V]) Rev() Rev { return Rev{Pos: int(n.pos), Hash: n.hash} }

// Deleted says whether the revision is a tombstone.
func (n *Node[V]) Deleted() bool { return n.deleted }

// Leaf says whether no child of the revision is known.
func (n *Node[V]) Leaf() bool { return !n.inner }

// Value is what was stored with the revision; ok is false for a revision that is
// known by name only, or whose value was dropped by Compact.
func (n *Node[V]) Value() (value V, ok bool) { return n.value, n.present }

// Path is a revision with its ancestors, newest first, as CouchDB's _revisions
// member has it: IDs[i] is the hash of generation Start-i.
type Path struct {
	Start int
	IDs   []string
}

// Rev is the newest revision of the path. The path must not be empty.
func (p Path) Rev() Rev { return Rev{Pos: p.Start, Hash: p.IDs[0]} }

// Len is the number of revisions known to the tree.
func (t Tree[V]) Len() int { return len(t.nodes) }

// Merge adds the revision at the head of path, with its value, and its ancestors
// by name. changed is false, and the tree the same, when all of that was known.
// A value that is there already is kept: a revision's content never changes.
// added is true when the head is new to the tree or got its value by this call.
func (t Tree[V]) Merge(path Path, deleted bool, value V) (merged Tree[V], changed, added bool) {
	if len(path.IDs) == 0 {
		return t, false, false
	}
	m := merger[V]{nodes: t.nodes}
	child := noParent
	for i, hash := range path.IDs {
		rev := Rev{Pos: path.Start - i, Hash: hash}
		at, known := m.find(rev, child)
		if !known {
			at = m.add(rev)
		}
		if i == 0 {
			added = m.fill(at, deleted, value)
		} else {
			m.link(child, at)
		}
		child = at
	}
	return Tree[V]{nodes: m.nodes}, m.copied, added
}

// merger copies a tree's nodes at the first change.
type merger[V any] struct {
	nodes  []Node[V]
	copied bool
}

// find looks for a revision, first where it most probably is: as the known
// parent of child.
func (m *merger[V]) find(rev Rev, child int) (int, bool) {
	if child != noParent {
		if p := m.nodes[child].parent; p != noParent && m.nodes[p].hash == rev.Hash {
			return int(p), true
		}
	}
	return find(m.nodes, rev)
}

func (m *merger[V]) own(extra int) {
	if m.copied {
		return
	}
	nodes := make([]Node[V], len(m.nodes), len(m.nodes)+extra)
	copy(nodes, m.nodes)
	m.nodes, m.copied = nodes, true
}

func (m *merger[V]) add(rev Rev) int {
	m.own(1)
	m.nodes = append(m.nodes, Node[V]{hash: rev.Hash, pos: int32(rev.Pos), parent: noParent})
	return len(m.nodes) - 1
}

// fill gives a node its value unless it has one.
func (m *merger[V]) fill(at int, deleted bool, value V) bool {
	if m.nodes[at].present {
		return false
	}
	m.own(0)
	n := &m.nodes[at]
	n.value, n.present, n.deleted = value, true, deleted
	return true
}

// link makes parent the parent of child.
func (m *merger[V]) link(child, parent int) {
	if !m.nodes[parent].inner {
		m.own(0)
		m.nodes[parent].inner = true
	}
	old := m.nodes[child].parent
	if old == int32(parent) {
		return
	}
	if old != noParent && m.nodes[old].Rev().Compare(m.nodes[parent].Rev()) > 0 {
		return
	}
	m.own(0)
	m.nodes[child].parent = int32(parent)
}

func find[V any](nodes []Node[V], rev Rev) (int, bool) {
	for i := range nodes {
		if int(nodes[i].pos) == rev.Pos && nodes[i].hash == rev.Hash {
			return i, true
		}
	}
	return 0, false
}

// Find returns the node of a revision, or nil if the tree does not know it.
func (t Tree[V]) Find(rev Rev) *Node[V] {
	i, ok := find(t.nodes, rev)
	if !ok {
		return nil
	}
	return &t.nodes[i]
}

// Winner is the revision that a plain GET shows: of the leaves the one that is
// not deleted, then of the higher generation, then of the greater hash. It is
// nil in an empty tree only.
func (t Tree[V]) Winner() *Node[V] {
	var best *Node[V]
	for i := range t.nodes {
		n := &t.nodes[i]
		if n.inner {
			continue
		}
		if best == nil || compareLeaves(n, best) < 0 {
			best = n
		}
	}
	return best
}

// AppendLeaves appends the leaves to dst, the winner first and the others in
// the order in which they would win.
func (t Tree[V]) AppendLeaves(dst []*Node[V]) []*Node[V] {
	start := len(dst)
	for i := range t.nodes {
		if !t.nodes[i].inner {
			dst = append(dst, &t.nodes[i])
		}
	}
	if len(dst)-start > 1 {
		slices.SortFunc(dst[start:], compareLeaves[V])
	}
	return dst
}

// Leaves is AppendLeaves into a new slice.
func (t Tree[V]) Leaves() []*Node[V] { return t.AppendLeaves(nil) }

// compareLeaves orders the leaf that wins before the other.
func compareLeaves[V any](a, b *Node[V]) int {
	if a.deleted != b.deleted {
		if b.deleted {
			return -1
		}
		return 1
	}
	return b.Rev().Compare(a.Rev())
}

// Path is the revision with its known ancestors.
func (t Tree[V]) Path(n *Node[V]) Path {
	p := Path{Start: int(n.pos), IDs: make([]string, 0, max(1, min(int(n.pos), len(t.nodes))))}
	for {
		p.IDs = append(p.IDs, n.hash)
		if n.parent == noParent {
			return p
		}
		n = &t.nodes[n.parent]
	}
}

// Parent is the parent of a node, or nil if it is not known.
func (t Tree[V]) Parent(n *Node[V]) *Node[V] {
	if n.parent == noParent {
		return nil
	}
	return &t.nodes[n.parent]
}
