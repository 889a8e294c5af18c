package mango

import (
	"slices"

	"millrace/pkg/ejson"
)

// Selector is a selector that CouchDB takes. It is safe for concurrent use.
type Selector struct {
	normal  ejson.Object
	root    condition
	pattern bool
}

// Parse reads a selector. Errors are *[Error] with CouchDB's own words, [ErrNotObject],
// or those of [ejson.Parse] for what is no JSON, or not to CouchDB.
//
// Of members of the same name the last one counts. $text is accepted at the root, and
// then matches everything, for CouchDB's filter does not have the text index either.
func Parse(selector []byte) (*Selector, error) {
	v, err := ejson.Parse(selector)
	if err != nil {
		return nil, err
	}
	o, ok := lastOfEachName(v).(ejson.Object)
	if !ok {
		return nil, ErrNotObject
	}
	normal, err := normalize(o)
	if err != nil {
		return nil, err
	}
	return &Selector{normal: normal, root: compile(normal), pattern: hasPattern(normal)}, nil
}

// HasPattern reports whether the selector has a regular expression: those without cost
// microseconds, those with may take a second for a document.
func (s *Selector) HasPattern() bool { return s.pattern }

// hasPattern may take what is compared with for a pattern.
func hasPattern(v any) bool {
	switch t := v.(type) {
	case ejson.Array:
		return slices.ContainsFunc(t, hasPattern)
	case ejson.Object:
		return slices.ContainsFunc(t, func(p ejson.Pair) bool { return p.Key == "$regex" || hasPattern(p.Value) })
	}
	return false
}

// Match says whether a document matches. Errors are *[EvaluationError]: CouchDB's
// feed or query breaks off at such a document.
func (s *Selector) Match(doc Document) (bool, error) {
	var why string
	switch doc.match(s.root, &why) {
	case yes:
		return true, nil
	case no:
		return false, nil
	}
	return false, &EvaluationError{why}
}

// lastOfEachName drops members whose name comes again, as CouchDB does when it
// reads JSON.
func lastOfEachName(v any) any {
	switch t := v.(type) {
	case ejson.Array:
		for i := range t {
			t[i] = lastOfEachName(t[i])
		}
		return t
	case ejson.Object:
		kept := t[:0:0]
		for i, p := range t {
			if _, again := t[i+1:].Get(p.Key); !again {
				kept = append(kept, ejson.Pair{Key: p.Key, Value: lastOfEachName(p.Value)})
			}
		}
		return kept
	default:
		return v
	}
}
