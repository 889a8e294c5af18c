package routing

import "millrace/pkg/mango"

// search is the memory of one Match, to be used again.
type search[J comparable] struct {
	found   []*entry[J]
	several bool // a job may have been found more than once
	scratch []byte
}

// Match appends the jobs whose selectors the document matches, each once and in no
// particular order, and those that cannot be evaluated on it.
func (x *Index[J]) Match(doc mango.Document, dst []Hit[J]) []Hit[J] {
	x.each(doc, func(e *entry[J]) { dst = e.try(doc, dst) })
	return dst
}

// each calls yield with the entries that the document may match.
func (x *Index[J]) each(doc mango.Document, yield func(*entry[J])) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s, _ := x.hits.Get().(*search[J])
	if s == nil {
		s = new(search[J])
	}
	defer x.hits.Put(s)
	x.candidates(doc, s)
	for _, e := range s.found {
		yield(e)
	}
	clear(s.found)
	s.found = s.found[:0]
	for _, e := range x.rest {
		yield(e)
	}
}

func (e *entry[J]) try(doc mango.Document, dst []Hit[J]) []Hit[J] {
	if e.selector == nil {
		return append(dst, Hit[J]{Job: e.job})
	}
	matched, err := e.selector.Match(doc)
	if matched || err != nil {
		return append(dst, Hit[J]{Job: e.job, Err: err})
	}
	return dst
}

// candidates looks the document up in the tables of its members.
func (x *Index[J]) candidates(doc mango.Document, s *search[J]) {
	if len(x.members) == 0 {
		return
	}
	s.several = false
	add := func(e *entry[J]) {
		s.several = s.several || len(e.terms) > 1
		s.found = append(s.found, e)
	}
	doc.Names(func(name []byte) {
		for _, t := range x.members[string(name)] {
			before := len(s.found)
			s.scratch = t.find(doc, s.scratch, add)
			s.several = s.several || len(s.found) > before+1
		}
	})
	if s.several && len(s.found) > 1 {
		s.found = once(s.found)
	}
}

// once drops repetitions.
func once[E comparable](entries []E) []E {
	if len(entries) < 16 {
		return onceOfFew(entries)
	}
	seen := make(map[E]struct{}, len(entries))
	kept := entries[:0]
	for _, e := range entries {
		if _, again := seen[e]; !again {
			seen[e] = struct{}{}
			kept = append(kept, e)
		}
	}
	return kept
}

func onceOfFew[E comparable](entries []E) []E {
	kept := entries[:0]
next:
	for _, e := range entries {
		for _, k := range kept {
			if k == e {
				continue next
			}
		}
		kept = append(kept, e)
	}
	return kept
}
