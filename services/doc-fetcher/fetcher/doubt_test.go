package fetcher

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
)

// damaged are the ways in which a source fails at one document, always.
func damaged() map[string]millpond.Fault {
	one := func(r *http.Request) bool { return r.URL.Path == "/db/damaged" && r.URL.Query().Has("open_revs") }
	return map[string]millpond.Fault{
		"cut":     {Match: one, CutBodyAfter: 100},
		"crashes": {Match: one, Status: 500, Body: `{"error":"unknown_error","reason":"badarg"}`},
	}
}

// damagedSource has documents with attachments that come alone or many in a request, and fails at one.
func damagedSource(t *testing.T, f millpond.Fault, size int) *databasetest.Database {
	t.Helper()
	s := source(t)
	for _, id := range []string{"a", "damaged", "z"} {
		s.PutAttachment(t, id, "blob", strings.Repeat("blob", size/4))
	}
	s.Server.Inject(f)
	s.Server.Inject(millpond.Fault{
		Match: func(r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/_bulk_get") && strings.Contains(r.Header.Get("Accept"), "multipart")
		},
		Status: 500, Body: `{"error":"unknown_error","reason":"badarg"}`,
	})
	return s
}

func revsOf(t *testing.T, s *databasetest.Database, ids ...string) (all []string) {
	t.Helper()
	leaves := s.Leaves(t)
	for _, id := range ids {
		all = append(all, id+" "+leaves[id][0])
	}
	return all
}

func TestRevisionAtWhichTheSourceAlwaysFailsIsRecordedAndTheOthersGoOn(t *testing.T) {
	for name, fault := range damaged() {
		for _, size := range []int{2 << 20, largeBytes + 4} { // through BODIES, and kept as contents
			t.Run(fmt.Sprintf("%s %d", name, size), func(t *testing.T) {
				s := damagedSource(t, fault, size)
				b := missing(revsOf(t, s, "a", "damaged", "z")...)
				got, err := tryGet(t, open(t, s.URL), b, func(f *fetch) { f.known = size > largeBytes })
				if err != nil {
					t.Fatal(err)
				}
				expect(t, "documents", got.multi, revsOf(t, s, "a", "z")...)
				if len(got.rejected) != 1 {
					t.Fatalf("rejected %v", got.rejected)
				}
				r := got.rejected[0]
				want := "answer_cut"
				if name == "crashes" {
					want = "unknown_error"
				}
				if r.Id != "damaged" || r.Error != want || r.Reason == "" || r.Attempts != passes || r.Stage != Name {
					t.Errorf("recorded %v", r)
				}
			})
		}
	}
}

// A source, or a shard of it, that fails at everything has nothing rejected.
func TestSourceThatIsIllRejectsNothing(t *testing.T) {
	for name, fault := range damaged() {
		t.Run(name, func(t *testing.T) {
			s := damagedSource(t, fault, 2<<20)
			b := missing(revsOf(t, s, "a", "damaged", "z")...)
			s.Server.Inject(millpond.Fault{
				Match:  func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/db/_local/") },
				Status: 500, Body: `{"error":"unknown_error","reason":"eio"}`,
			})
			got, err := tryGet(t, open(t, s.URL), b, nil)
			if couch.Classify(err) != couch.Transient || err == nil {
				t.Errorf("%v, fetched %v", err, got)
			}
		})
	}
}

// What fails for a while is asked for again.
func TestRevisionAtWhichTheSourceFailsForAWhileArrives(t *testing.T) {
	for name, fault := range damaged() {
		t.Run(name, func(t *testing.T) {
			fault.Times = 2
			s := damagedSource(t, fault, 2<<20)
			got := get(t, open(t, s.URL), missing(revsOf(t, s, "a", "damaged", "z")...), nil)
			expect(t, "documents", got.multi, revsOf(t, s, "a", "damaged", "z")...)
			if len(got.rejected) > 0 {
				t.Errorf("rejected %v", got.rejected)
			}
		})
	}
}

func TestLeafWhoseHistoryWasCutOffStandsForTheRevisionThatIsGone(t *testing.T) {
	s := source(t,
		`{"_id":"stemmed","_rev":"9-i","_revisions":{"start":9,"ids":["i","h","g"]}}`,
		`{"_id":"other","_rev":"3-c","_revisions":{"start":3,"ids":["c","b","a"]}}`,
		`{"_id":"beside","_rev":"2-x","_revisions":{"start":2,"ids":["x","w"]}}`)
	got := get(t, s.DB, missing("stemmed 1-a", "other 2-z", "beside 2-y", "nothing 1-a"), nil)
	expect(t, "documents", append(got.inline, got.multi...), "stemmed 9-i")
	reasons := map[string]string{}
	for _, r := range got.rejected {
		reasons[r.Id+" "+r.Rev] = r.Reason
		if r.Status != http.StatusNotFound || r.Error != "not_found" || !strings.HasPrefix(r.Reason, "missing") {
			t.Errorf("recorded %v", r)
		}
	}
	if len(reasons) != 3 || !strings.Contains(reasons["other 2-z"], "3-c") || !strings.Contains(reasons["beside 2-y"], "2-x") || !strings.Contains(reasons["nothing 1-a"], "purged") {
		t.Errorf("reasons %v", reasons)
	}
}

func TestRowWithoutAnIDIsRecordedAndTheOthersGoOn(t *testing.T) {
	s := source(t, doc("d", "", a))
	b := missing("d 1-aaaa")
	b.Docs = append(b.Docs, &millracev1.MissingDoc{Revs: []string{"1-b"}})
	got := get(t, s.DB, b, nil)
	expect(t, "documents", got.inline, "d 1-aaaa")
	if len(got.rejected) != 1 || got.rejected[0].Error != "illegal_docid" || got.rejected[0].Rev != "1-b" {
		t.Errorf("rejected %v", got.rejected)
	}
}
