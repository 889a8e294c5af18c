package routing

import (
	"slices"

	"millrace/pkg/mango"
)

// table holds the entries that stand under one field.
type table[J comparable] struct {
	field    mango.Field
	equal    map[string][]*entry[J]
	prefixes map[string][]*entry[J]
	lengths  []length // of the prefixes, ascending
}

type length struct{ bytes, prefixes int }

func newTable[J comparable](field mango.Field) *table[J] {
	return &table[J]{field: field, equal: make(map[string][]*entry[J]), prefixes: make(map[string][]*entry[J])}
}

func (t *table[J]) list(prefix bool) map[string][]*entry[J] {
	if prefix {
		return t.prefixes
	}
	return t.equal
}

func (t *table[J]) add(term mango.Term, e *entry[J]) {
	list := t.list(term.Prefix)
	entries := list[term.Key]
	if term.Prefix && len(entries) == 0 {
		t.addLength(len(term.Key))
	}
	list[term.Key] = append(entries, e)
}

func (t *table[J]) remove(term mango.Term, e *entry[J]) {
	list := t.list(term.Prefix)
	if entries := without(list[term.Key], e); len(entries) > 0 {
		list[term.Key] = entries
		return
	}
	delete(list, term.Key)
	if term.Prefix {
		t.removeLength(len(term.Key))
	}
}

func (t *table[J]) count(term mango.Term) int { return len(t.list(term.Prefix)[term.Key]) }

func (t *table[J]) empty() bool { return len(t.equal) == 0 && len(t.prefixes) == 0 }

func (t *table[J]) addLength(n int) {
	i, found := slices.BinarySearchFunc(t.lengths, n, func(l length, n int) int { return l.bytes - n })
	if !found {
		t.lengths = slices.Insert(t.lengths, i, length{bytes: n})
	}
	t.lengths[i].prefixes++
}

func (t *table[J]) removeLength(n int) {
	i, _ := slices.BinarySearchFunc(t.lengths, n, func(l length, n int) int { return l.bytes - n })
	if t.lengths[i].prefixes--; t.lengths[i].prefixes == 0 {
		t.lengths = slices.Delete(t.lengths, i, i+1)
	}
}

// find calls yield with the entries that a document may match. One may come twice.
func (t *table[J]) find(doc mango.Document, scratch []byte, yield func(*entry[J])) []byte {
	if len(t.equal) > 0 {
		scratch = doc.EachKey(t.field, scratch, func(key []byte) {
			for _, e := range t.equal[string(key)] {
				yield(e)
			}
		})
	}
	if len(t.lengths) == 0 {
		return scratch
	}
	text, _ := doc.Text(t.field)
	for _, l := range t.lengths {
		if l.bytes > len(text) {
			break
		}
		for _, e := range t.prefixes[text[:l.bytes]] {
			yield(e)
		}
	}
	return scratch
}
