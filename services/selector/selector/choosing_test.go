package selector

import (
	"strings"
	"testing"
	"time"

	"millrace/pkg/filter"
	"millrace/pkg/rawdoc"
	"millrace/pkg/routing"
	millracev1 "millrace/proto/millrace/v1"
)

// A pattern that takes for ever delays a batch once, and its job alone is passed over.
func TestHostilePatternIsItsJobsAlone(t *testing.T) {
	v := &view{feed: &millracev1.Feed{Id: "f"}, byJob: map[string]*member{}, index: &routing.Index[string]{}}
	for job, selector := range map[string]string{
		"hostile": `{"a":{"$regex":"^(a|aa|a?a?)*(a|aa)*(aa|a)*b$"}}`, "plain": `{"n":1}`, "pattern": `{"a":{"$regex":"c$"}}`,
	} {
		f, err := filter.Compile(&millracev1.JobFilter{Selector: []byte(selector)})
		if err != nil {
			t.Fatal(err)
		}
		m := &member{entry: &millracev1.RosterEntry{Job: job}, job: &millracev1.Job{}, filter: f}
		v.byJob[job], v.selectors = m, append(v.selectors, m)
		v.index.Add(job, f.Selector())
	}
	var leaves []*leaf
	for range 200 { // at a second each it would be noticed
		leaves = append(leaves, &leaf{meta: rawdoc.Meta{ID: "d"}, doc: []byte(`{"_id":"d","n":1,"a":"` + strings.Repeat("a", 64) + `c"}`)})
	}
	svc := &Service{functionPace: newPace(time.Now)}
	count := func(only *member) (*choosing, map[string]int) {
		c, got := svc.newChoosing(v, only, nil), map[string]int{}
		if err := c.bySelectors(leaves, func(m *member, _ *leaf) { got[m.entry.Job]++ }); err != nil {
			t.Fatal(err)
		}
		return c, got
	}
	hostile := v.byJob["hostile"]
	pattern := v.byJob["pattern"] // may be slow, on a slow machine
	if c, got := count(nil); c.failed[hostile] == nil || got["plain"] != 200 || got["pattern"] != 200 && !c.slow[pattern] || len(c.failed) != 1 {
		t.Errorf("chosen %v, failed %v", got, c.failed)
	}
	if c, _ := count(hostile); c.failed[hostile] == nil {
		t.Error("its replay does not fail")
	}
	svc.functionPace.late("hostile")
	svc.functionPace.late("pattern")
	if c, got := count(nil); !c.slow[pattern] || got["plain"] != 200 || got["pattern"] != 0 {
		t.Errorf("while it is late: chosen %v, slow %v", got, c.slow)
	}
}
