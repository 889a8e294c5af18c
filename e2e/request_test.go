package e2e_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/peer"
)

// asked counts requests of a kind and method.
type asked struct {
	kind   chaosproxy.Endpoint
	method string
	n      atomic.Int64
}

func count(p *chaosproxy.Proxy, kind chaosproxy.Endpoint, method string) *asked {
	a := &asked{kind: kind, method: method}
	p.Add(chaosproxy.Rule{Match: func(r *http.Request) bool {
		if r.Method == method && chaosproxy.Classify(r) == kind {
			a.n.Add(1)
		}
		return false
	}})
	return a
}

func (a *asked) times(t *testing.T, want int) {
	t.Helper()
	if n := a.n.Load(); int(n) != want {
		t.Errorf("%d times %s %s, want %d", n, a.method, a.kind, want)
	}
}

// CouchDB's bulk_get tests. It asks for design documents and those with attachments one by one;
// here ten documents are no ten requests, whatever they have.
func TestTenDocumentsOfAnyKindAreReadAndWrittenInBulk(t *testing.T) {
	kinds := map[string]func(t *testing.T, db string, i int){
		"plain":         func(t *testing.T, db string, i int) { save(t, db, fmt.Sprint(i), `"v":1`) },
		"design":        func(t *testing.T, db string, i int) { save(t, db, fmt.Sprintf("_design/%d", i), `"v":1`) },
		"with an image": func(t *testing.T, db string, i int) { attach(t, db, fmt.Sprint(i), "att", "app/binary", data2) },
	}
	for name, write := range kinds {
		for _, bulk := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, use_bulk_get %t", name, bulk), func(t *testing.T) {
				eachPair(t, func(s scenario) {
					if s.pair.Source.Kind != s.pair.Target.Kind {
						return // it is about what each source and each target is asked, not about pairs
					}
					for i := range 10 {
						write(s.T, s.source, i)
					}
					direct := s
					source, target := through(s.T, &s.source), through(s.T, &s.target)
					gets, puts := count(source, chaosproxy.Document, http.MethodGet), count(target, chaosproxy.Document, http.MethodPut)
					r := millrace(s, fmt.Sprintf(`"use_bulk_get":%t,"retries_per_request":0`, bulk))
					s.counted(r, 1, 10, 10, 10, 10, 0)
					asked, counters := source.Counts()[chaosproxy.BulkGet].Requests, r.History[0].Counters
					if bulk != (asked > 0) || bulk != (counters.BulkGetAttempts > 0) {
						s.Errorf("%d times _bulk_get, counted %+v", asked, counters)
					}
					if !bulk {
						gets.times(s.T, 10)
					} else if name != "with an image" || s.pair.Source.Kind != peer.PouchDB { // which gives none in bulk
						gets.times(s.T, 0)
						puts.times(s.T, 0)
						if counters.BulkGetDocs != 10 || counters.BulkGetAttempts != 10 {
							s.Errorf("counted %+v", counters)
						}
					}
					direct.same()
				})
			})
		}
	}
}

// CouchDB's revs_diff tests.
func TestRevsDiffIsAskedWhereTheTargetHasMostAndSparedWhereItHasNothing(t *testing.T) {
	eachPair(t, func(s scenario) {
		for i := range 100 {
			save(s.T, s.source, fmt.Sprintf("doc-%03d", i), `"v":1`)
		}
		direct := s
		target := through(s.T, &s.target)
		const options = `"worker_batch_size":5,"worker_processes":1`
		s.counted(millrace(s, options), 1, 100, 100, 100, 100, 0)
		if n := target.Counts()[chaosproxy.RevsDiff].Requests; n > 10 {
			s.Errorf("%d times _revs_diff of an empty target", n)
		}
		direct.same()
		// Another replication, which knows nothing of the first.
		target.ResetCounts()
		r := millrace(s, options+`,"winning_revs_only":true`)
		s.counted(r, 1, 100, 0, 0, 0, 0)
		if n := target.Counts()[chaosproxy.RevsDiff].Requests; n < 20 {
			s.Errorf("%d times _revs_diff of a full target", n)
		}
	})
}
