package mango

import (
	"slices"
	"strings"

	"millrace/pkg/ejson"
)

// Canonical is the form of a selector that CouchDB hashes for the replication id:
// normalised, with the members of every object sorted by name. Matching does not go
// by it, for the order of members is part of a value.
func (s *Selector) Canonical() ejson.Object { return sortKeys(s.normal).(ejson.Object) }

// sortKeys sorts the members of all objects, also inside values. Repeated names
// come out in reverse order, as from CouchDB's ejsort.
func sortKeys(v any) any {
	switch t := v.(type) {
	case ejson.Array:
		sorted := make(ejson.Array, len(t))
		for i, e := range t {
			sorted[i] = sortKeys(e)
		}
		return sorted
	case ejson.Object:
		sorted := make(ejson.Object, len(t))
		for i, p := range t {
			sorted[len(t)-1-i] = ejson.Pair{Key: p.Key, Value: sortKeys(p.Value)}
		}
		slices.SortStableFunc(sorted, func(a, b ejson.Pair) int { return strings.Compare(a.Key, b.Key) })
		return sorted
	default:
		return v
	}
}
