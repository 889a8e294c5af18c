package verify

import (
	"slices"
	"sync"
)

// verdict is what comparing one document has shown.
type verdict struct {
	id               string
	documentA        bool
	documentB        bool
	leavesA, leavesB int64
	shared           int64 // leaves that both have
	differing        int64 // of these
	differences      []Difference
	left             []Difference // of kind LeftFilter
}

// differ adds a difference.
func (v *verdict) differ(d Difference) {
	d.ID = v.id
	v.differences = append(v.differences, d)
}

// differLeaf adds the differences of a leaf that both have.
func (v *verdict) differLeaf(rev string, found []Difference) {
	if len(found) == 0 {
		return
	}
	v.differing++
	for _, d := range found {
		d.Revs = []string{rev}
		v.differ(d)
	}
}

// sums are the numbers of a report.
type sums struct {
	Counts
	a, b        SideReport
	differences int64
}

func (s *sums) add(v verdict) {
	s.a.Leaves += v.leavesA
	s.b.Leaves += v.leavesB
	s.MatchingLeaves += v.shared - v.differing
	if v.documentA {
		s.a.Documents++
	}
	if v.documentB {
		s.b.Documents++
	}
	if v.documentA && v.documentB && len(v.differences) == 0 {
		s.MatchingDocuments++
	}
	s.differences += int64(len(v.differences))
	if len(v.left) > 0 {
		s.b.LeftDocuments++
		s.b.LeftLeaves += int64(len(v.left))
	}
	attached := ""
	for _, d := range v.differences {
		if d.Kind == Attachment {
			if d.Revs[0] == attached {
				continue // a leaf counts once
			}
			attached = d.Revs[0]
		}
		s.count(d)
	}
}

func (s *sums) count(d Difference) {
	lacking := &s.a
	if d.Side == B {
		lacking = &s.b
	}
	switch d.Kind {
	case MissingDocument:
		lacking.MissingDocuments++
		lacking.MissingLeaves += int64(len(d.Revs))
	case MissingLeaf:
		lacking.MissingLeaves += int64(len(d.Revs))
	case Unchosen:
		s.b.UnchosenLeaves += int64(len(d.Revs))
	case Foreign:
		s.b.ForeignLeaves += int64(len(d.Revs))
	case Unreadable:
		if d.Side != B {
			s.a.UnreadableLeaves++
		}
		if d.Side != A {
			s.b.UnreadableLeaves++
		}
	case WinnerDeleted:
		s.WinnerDeletedDiffers++
	case LeafDeleted:
		s.LeafDeletedDiffers++
	case Body:
		s.BodyDiffers++
	case History:
		s.HistoryDiffers++
	case Attachment:
		s.AttachmentsDiffer++
	}
}

// plus adds up two sums.
func (s sums) plus(o sums) sums {
	s.a, s.b = s.a.plus(o.a), s.b.plus(o.b)
	s.differences += o.differences
	s.MatchingDocuments += o.MatchingDocuments
	s.MatchingLeaves += o.MatchingLeaves
	s.WinnerDeletedDiffers += o.WinnerDeletedDiffers
	s.LeafDeletedDiffers += o.LeafDeletedDiffers
	s.BodyDiffers += o.BodyDiffers
	s.HistoryDiffers += o.HistoryDiffers
	s.AttachmentsDiffer += o.AttachmentsDiffer
	return s
}

func (s SideReport) plus(o SideReport) SideReport {
	s.Documents += o.Documents
	s.Leaves += o.Leaves
	s.MissingDocuments += o.MissingDocuments
	s.MissingLeaves += o.MissingLeaves
	s.UnreadableLeaves += o.UnreadableLeaves
	s.LeftDocuments += o.LeftDocuments
	s.LeftLeaves += o.LeftLeaves
	s.UnchosenLeaves += o.UnchosenLeaves
	s.ForeignLeaves += o.ForeignLeaves
	return s
}

// tally adds up verdicts. Those that found a difference are kept apart, because they may be
// given again. It is safe for concurrent use.
type tally struct {
	shownLimit, suspectLimit int

	mu        sync.Mutex
	same      sums
	differing sums
	shown     []Difference // the first by order
	left      []Difference // likewise what has left the filter, of documents that do not differ
	leftToo   []Difference // and of those that do
	suspects  []string     // documents that differ
	tooMany   bool         // more than suspectLimit of them
}

func (t *tally) add(v verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(v.differences) == 0 {
		t.same.add(v)
		for _, d := range v.left {
			t.left = t.show(t.left, d)
		}
		return
	}
	t.differing.add(v)
	for _, d := range v.differences {
		t.shown = t.show(t.shown, d)
	}
	for _, d := range v.left {
		t.leftToo = t.show(t.leftToo, d)
	}
	if len(t.suspects) == t.suspectLimit {
		t.tooMany = true
		return
	}
	t.suspects = append(t.suspects, v.id)
}

// show adds a difference to the list if it is among the first.
func (t *tally) show(list []Difference, d Difference) []Difference {
	at, _ := slices.BinarySearchFunc(list, d, compareDifferences)
	if at == t.shownLimit {
		return list
	}
	list = slices.Insert(list, at, d)
	return list[:min(len(list), t.shownLimit)]
}

// allLeft lists the first of what has left the filter.
func (t *tally) allLeft() []Difference {
	list := slices.Clone(t.left)
	for _, d := range t.leftToo {
		list = t.show(list, d)
	}
	return list
}

// retry forgets the verdicts that found differences and returns their documents.
func (t *tally) retry() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := t.suspects
	t.differing, t.shown, t.leftToo, t.suspects = sums{}, nil, nil, nil
	return ids
}
