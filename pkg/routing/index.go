package routing

import (
	"slices"
	"sync"

	"millrace/pkg/mango"
)

// Index holds the selectors of jobs. The zero value is empty and ready. It is safe
// for concurrent use: documents are matched side by side, while nothing is added.
type Index[J comparable] struct {
	mu      sync.RWMutex
	jobs    map[J]*entry[J]
	members map[string][]*table[J] // by the member of the document
	fields  map[string]*table[J]   // by the field's name
	rest    []*entry[J]            // to be tried on every document
	hits    sync.Pool              // of *search[J]
}

// entry is the selector of one job.
type entry[J comparable] struct {
	job      J
	selector *mango.Selector // nil: every document matches
	terms    mango.Need      // under which it stands in tables, each once
	indexed  bool            // else it is in rest
}

// Hit is a job whose selector a document matches, or cannot be evaluated on.
type Hit[J comparable] struct {
	Job J
	Err error // a *[mango.EvaluationError]; nil for a match
}

// Add enters a job with its selector; nil matches every document. A job that is there
// already gets the new selector. It costs time for each value that the selector's
// condition lists, however many jobs there are.
func (x *Index[J]) Add(job J, selector *mango.Selector) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(job)
	if x.jobs == nil {
		x.jobs = make(map[J]*entry[J])
		x.members = make(map[string][]*table[J])
		x.fields = make(map[string]*table[J])
	}
	e := &entry[J]{job: job, selector: selector}
	x.jobs[job] = e
	need, indexed := x.choose(selector)
	if e.indexed = indexed; !indexed {
		x.rest = append(x.rest, e)
		return
	}
	e.terms = distinct(need)
	for _, term := range e.terms {
		x.table(term.Field).add(term, e)
	}
}

// Remove takes a job out, if it is there.
func (x *Index[J]) Remove(job J) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(job)
}

// Len is the number of jobs.
func (x *Index[J]) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.jobs)
}

func (x *Index[J]) remove(job J) {
	e := x.jobs[job]
	if e == nil {
		return
	}
	delete(x.jobs, job)
	if !e.indexed {
		x.rest = without(x.rest, e)
		return
	}
	for _, term := range e.terms {
		t := x.fields[term.Field.Name()]
		if t.remove(term, e); t.empty() {
			x.drop(t)
		}
	}
}

// without removes an entry and does not keep the order.
func without[E comparable](entries []E, e E) []E {
	i := slices.Index(entries, e)
	last := len(entries) - 1
	entries[i] = entries[last]
	clear(entries[last:])
	return entries[:last]
}

// distinct drops terms that come twice, as in {"$in": [1, 1.0]}.
func distinct(need mango.Need) mango.Need {
	type id struct {
		field, key string
		prefix     bool
	}
	seen := make(map[id]struct{}, len(need))
	kept := make(mango.Need, 0, len(need))
	for _, term := range need {
		id := id{term.Field.Name(), term.Key, term.Prefix}
		if _, again := seen[id]; !again {
			seen[id] = struct{}{}
			kept = append(kept, term)
		}
	}
	return kept
}

// choose takes the condition under which the fewest jobs stand already, so that
// {"type": "order", "owner": "joe"} of a thousand owners comes to stand under owner.
func (x *Index[J]) choose(selector *mango.Selector) (mango.Need, bool) {
	if selector == nil {
		return nil, false
	}
	var best mango.Need
	least := -1
	for _, need := range selector.Needs() {
		if cost := x.cost(need); least < 0 || cost < least {
			best, least = need, cost
		}
	}
	return best, least >= 0
}

// cost estimates how often a document meets a need in vain.
func (x *Index[J]) cost(need mango.Need) int {
	cost := 0
	for _, term := range need {
		share := 2
		switch {
		case len(term.Key) == 1: // null, true or false, which many documents have, or a short prefix
			share = 64
		case term.Prefix:
			share = 3
		}
		if t := x.fields[term.Field.Name()]; t != nil {
			share *= 1 + t.count(term)
		}
		cost += share
	}
	return cost
}

func (x *Index[J]) table(field mango.Field) *table[J] {
	t := x.fields[field.Name()]
	if t == nil {
		t = newTable[J](field)
		x.fields[field.Name()] = t
		x.members[field.First()] = append(x.members[field.First()], t)
	}
	return t
}

func (x *Index[J]) drop(t *table[J]) {
	delete(x.fields, t.field.Name())
	first := t.field.First()
	if x.members[first] = without(x.members[first], t); len(x.members[first]) == 0 {
		delete(x.members, first)
	}
}
