package millpond

import "sort"

// changeLog is the documents of a database in the order of their newest change.
// An entry whose document changed again is emptied and swept away once such
// entries are the majority, so adding costs amortised constant time and 16 to 32
// bytes a document.
type changeLog struct {
	entries []changeEntry // by seq
	live    int
}

type changeEntry struct {
	seq uint64
	doc *Doc // nil if the document has a newer change
}

// minSweep keeps small logs from being swept all the time.
const minSweep = 1024

func (l *changeLog) add(doc *Doc) {
	if len(l.entries) >= minSweep && l.live < len(l.entries)/2 {
		l.sweep()
	}
	l.entries = append(l.entries, changeEntry{seq: doc.Seq, doc: doc})
	l.live++
}

func (l *changeLog) sweep() {
	kept := make([]changeEntry, 0, 2*l.live)
	for _, e := range l.entries {
		if e.doc != nil {
			kept = append(kept, e)
		}
	}
	l.entries = kept
}

func (l *changeLog) remove(seq uint64) {
	if i := l.search(seq); i < len(l.entries) && l.entries[i].seq == seq {
		l.entries[i].doc = nil
		l.live--
	}
}

// swap replaces a document at its seq.
func (l *changeLog) swap(doc *Doc) {
	if i := l.search(doc.Seq); i < len(l.entries) && l.entries[i].seq == doc.Seq {
		l.entries[i].doc = doc
	}
}

// search is the index of the first entry at or after seq.
func (l *changeLog) search(seq uint64) int {
	return sort.Search(len(l.entries), func(i int) bool { return l.entries[i].seq >= seq })
}

func (l *changeLog) after(seq uint64, limit int, dst []*Doc) []*Doc {
	for i := l.search(seq + 1); i < len(l.entries) && limit > 0; i++ {
		if doc := l.entries[i].doc; doc != nil {
			dst = append(dst, doc)
			limit--
		}
	}
	return dst
}

func (l *changeLog) before(seq uint64, limit int, dst []*Doc) []*Doc {
	end := len(l.entries)
	if seq != 0 {
		end = l.search(seq)
	}
	for i := end - 1; i >= 0 && limit > 0; i-- {
		if doc := l.entries[i].doc; doc != nil {
			dst = append(dst, doc)
			limit--
		}
	}
	return dst
}

func (l *changeLog) countAfter(seq uint64) int {
	if seq == 0 {
		return l.live
	}
	n := 0
	for i := l.search(seq + 1); i < len(l.entries); i++ {
		if l.entries[i].doc != nil {
			n++
		}
	}
	return n
}
