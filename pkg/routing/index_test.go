package routing

import (
	"fmt"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/mango"
	"millrace/pkg/mango/mangotest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}

func parse(t testing.TB, selector string) *mango.Selector {
	t.Helper()
	s, err := mango.Parse([]byte(selector))
	if err != nil {
		t.Fatalf("Parse(%s): %v", selector, err)
	}
	return s
}

func decode(t testing.TB, doc string) mango.Document {
	t.Helper()
	d, err := mango.Decode([]byte(doc))
	if err != nil {
		t.Fatalf("Decode(%s): %v", doc, err)
	}
	return d
}

// matched are the jobs of hits in order, a failure with its reason.
func matched(hits []Hit[int]) []string {
	var jobs []string
	for _, h := range hits {
		jobs = append(jobs, name(h.Job, h.Err))
	}
	slices.Sort(jobs)
	return jobs
}

func name(job int, err error) string { return fmt.Sprint(job, err) }

// The law of the index: it finds what plain evaluation of every selector finds,
// while jobs come, change and go.
func TestIndexAgreesWithPlainEvaluation(t *testing.T) {
	for seed := range uint64(12) {
		g := mangotest.New(seed)
		var x Index[int]
		selectors := make(map[int]*mango.Selector)
		for round := range 60 {
			for range 10 {
				job := g.IntN(200)
				if g.IntN(4) == 0 {
					x.Remove(job)
					delete(selectors, job)
					continue
				}
				s, err := mango.Parse([]byte(selectorOf(g)))
				if err != nil {
					continue // $text and others: the generator makes a few that are refused
				}
				x.Add(job, s)
				selectors[job] = s
			}
			for range 10 {
				doc := g.Document()
				d := decode(t, doc)
				var want []string
				for job, s := range selectors {
					if ok, err := s.Match(d); ok || err != nil {
						want = append(want, name(job, err))
					}
				}
				slices.Sort(want)
				if got := matched(x.Match(decode(t, doc), nil)); !slices.Equal(got, want) {
					t.Fatalf("seed %d, round %d, %s: %v, want %v", seed, round, doc, got, want)
				}
			}
		}
		if x.Len() != len(selectors) {
			t.Errorf("%d jobs, want %d", x.Len(), len(selectors))
		}
		for job := range selectors {
			x.Remove(job)
		}
		if x.Len() != 0 || len(x.fields) != 0 || len(x.members) != 0 || len(x.rest) != 0 {
			t.Errorf("an empty index keeps %d fields, %d members, %d others", len(x.fields), len(x.members), len(x.rest))
		}
	}
}

// selectorOf prefers those that the index can use.
func selectorOf(g *mangotest.Generator) string {
	if g.IntN(3) == 0 {
		return g.Selector()
	}
	return g.Pinned()
}

// What is left out is what makes the index: each of these stands under a term.
func TestWhatIsIndexed(t *testing.T) {
	for _, c := range []struct {
		selector string
		terms    []string // field:key
	}{
		{`{"owner":"joe"}`, []string{"owner:sjoe"}},
		{`{"owner":{"$eq":1.0}}`, []string{"owner:#1"}},
		{`{"owner":{"$in":["joe",null,true]}}`, []string{"owner:sjoe", "owner:n", "owner:t"}},
		{`{"owner":{"$in":[]}}`, []string{}},
		{`{"a":{"b":"x"}}`, []string{"a.b:sx"}},
		{`{"owner":"joe","n":{"$gt":1}}`, []string{"owner:sjoe"}},
		{`{"paid":true,"owner":"joe"}`, []string{"owner:sjoe"}},
		{`{"owner":{"$in":["a","b","c"]},"group":"g"}`, []string{"group:sg"}},
		{`{"$and":[{"$and":[{"owner":"joe"}]},{"x":{"$exists":true}}]}`, []string{"owner:sjoe"}},
		{`{"$or":[{"owner":"joe"},{"group":{"$in":["a","b"]},"x":1}]}`, []string{"owner:sjoe", "x:#1"}},
		{`{"tags":{"$all":["a","b"]}}`, []string{"tags:sa"}},
		{`{"tags":{"$elemMatch":{"$eq":"a"}}}`, []string{"tags:sa"}},
		{`{"_id":{"$beginsWith":"joe:"}}`, []string{"_id:joe:*"}},
		{`{"_id":{"$gte":"joe:","$lt":"joe;"}}`, []string{"_id:joe:*"}},
		{`{"_id":{"$gt":"joe:","$lt":"joe:\uffff"}}`, []string{"_id:joe:*"}},
		{`{"_id":{"$gte":"a","$lte":"a"}}`, []string{"_id:a*"}},
		{`{"owner":"K"}`, []string{"owner:sK"}},
		{`{"owner":"\u212a"}`, []string{"owner:sK"}},
		{`{"$not":{"owner":{"$ne":"joe"}}}`, []string{"owner:sjoe"}},

		{`{}`, nil},
		{`{"owner":{"$ne":"joe"}}`, nil},
		{`{"owner":{"$gt":"joe"}}`, nil},
		{`{"owner":{"$exists":false}}`, nil},
		{`{"$or":[]}`, nil},
		{`{"$or":[{"owner":"joe"},{"n":{"$gt":1}}]}`, nil},
		{`{"_id":{"$gte":"a","$lt":"b\u0000"}}`, nil},
		{`{"_id":{"$gte":"a"}}`, nil},
		{`{"n":{"$gte":"a","$lte":"a"}}`, nil},
		{`{"owner":"joe","a..b":1}`, nil},
		{`{"owner":"joe","n":{"$mod":[0,1]}}`, nil},
	} {
		var x Index[int]
		x.Add(1, parse(t, c.selector))
		e := x.jobs[1]
		var got []string
		if e.indexed {
			got = []string{}
		}
		for _, term := range e.terms {
			text := term.Field.Name() + ":" + term.Key
			if term.Prefix {
				text += "*"
			}
			got = append(got, text)
		}
		if !slices.Equal(got, c.terms) || (got == nil) != (c.terms == nil) {
			t.Errorf("%s stands under %q, want %q", c.selector, got, c.terms)
		}
	}
}

func TestJobsSpreadOverTheFieldThatTellsThemApart(t *testing.T) {
	var x Index[int]
	for job := range 100 {
		x.Add(job, parse(t, fmt.Sprintf(`{"type":"order","owner":"user-%d"}`, job)))
	}
	if tables := x.fields["type"]; tables != nil && len(tables.equal["sorder"]) > 1 {
		t.Errorf("%d jobs stand under the field that all share", len(tables.equal["sorder"]))
	}
	if got := matched(x.Match(decode(t, `{"type":"order","owner":"user-7"}`), nil)); !slices.Equal(got, []string{name(7, nil)}) {
		t.Errorf("matched %v", got)
	}
}

func TestAJobWithoutSelectorMatchesEverything(t *testing.T) {
	var x Index[int]
	x.Add(1, nil)
	x.Add(2, parse(t, `{"a":1}`))
	if got := matched(x.Match(decode(t, `{}`), nil)); !slices.Equal(got, []string{name(1, nil)}) {
		t.Errorf("matched %v", got)
	}
	x.Add(1, parse(t, `{"a":2}`))
	if got := matched(x.Match(decode(t, `{"a":[1]}`), nil)); got != nil {
		t.Errorf("matched %v", got)
	}
}
