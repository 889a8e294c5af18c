package shop

// fate is what happened to a document.
type fate struct {
	kind Kind
	// fork is the newest generation that the strands share.
	fork int
	// strands of the history; more than one is, or was, a conflict.
	strands []strand
}

// strand is a line of edits that ends in a leaf.
type strand struct {
	edits   int // since the first revision, so that the leaf's generation is one more
	deleted bool
}

// Of a hundred documents, so many have been edited, deleted, and so on; the others are as
// they were written first.
const (
	percentEdited   = 18
	percentDeleted  = 3
	percentConflict = 2
	percentResolved = 1
	mostEdits       = 6
)

func (g generator) fate() fate {
	n := g.IntN(100)
	some := 1 + g.IntN(mostEdits)
	switch {
	case n < percentEdited:
		return fate{kind: Edited, strands: []strand{{edits: some}}}
	case n < percentEdited+percentDeleted:
		return fate{kind: Deleted, strands: []strand{{edits: some, deleted: true}}}
	case n < percentEdited+percentDeleted+percentConflict:
		return g.conflict(2+g.IntN(5)/4, some)
	case n < percentEdited+percentDeleted+percentConflict+percentResolved:
		f := g.conflict(2, some)
		f.kind = Resolved
		f.strands[g.IntN(2)].deleted = true
		return f
	default:
		return fate{kind: Fresh, strands: []strand{{}}}
	}
}

// conflict forks the history into so many strands.
func (g generator) conflict(strands, fork int) fate {
	f := fate{kind: Conflict, fork: fork}
	for range strands {
		f.strands = append(f.strands, strand{edits: fork + g.IntN(3)})
	}
	return f
}
