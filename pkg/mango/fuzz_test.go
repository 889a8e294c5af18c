package mango

import (
	"testing"

	"millrace/pkg/ejson"
	"millrace/pkg/mango/mangotest"
)

// FuzzMatch wants no panic, whatever is parsed and decoded, and a canonical form
// that is accepted.
func FuzzMatch(f *testing.F) {
	g := mangotest.New(1)
	for range 50 {
		f.Add([]byte(g.Selector()), []byte(g.Document()))
	}
	f.Add([]byte(`{"a":{"$regex":"\\g{-1}[[:alpha:]\\Q[\\E]"}}`), []byte(`{"a":"x"}`))
	f.Fuzz(func(t *testing.T, selector, body []byte) {
		d, err := Decode(body)
		if err != nil {
			return
		}
		s, err := Parse(selector)
		if err != nil {
			return
		}
		_ = ejson.Marshal(s.Canonical())
		first, err := s.Match(d)
		again, err2 := s.Match(d)
		if first != again || (err == nil) != (err2 == nil) {
			t.Errorf("%s on %s: %v, %v and then %v, %v", selector, body, first, err, again, err2)
		}
	})
}
