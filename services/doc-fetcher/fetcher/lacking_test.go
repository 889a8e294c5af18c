package fetcher

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
)

func ref(id string, version uint64) *millracev1.EndpointRef {
	return &millracev1.EndpointRef{Id: id, Version: version}
}

func TestLackOfBulkGetIsRememberedForAWhile(t *testing.T) {
	now := time.Now()
	l := newLacking(func() time.Time { return now })
	l.add(ref("a", 1))
	if !l.has(ref("a", 1)) || l.has(ref("a", 2)) || l.has(ref("b", 1)) {
		t.Error("it is said of this endpoint in this version, and of no other")
	}
	now = now.Add(lackingFor)
	if l.has(ref("a", 1)) {
		t.Error("it is remembered for ever")
	}
	for i := range 2 * lackingLimit {
		l.add(ref(fmt.Sprint(i), 1))
	}
	if len(l.until) > lackingLimit {
		t.Errorf("%d endpoints are remembered", len(l.until))
	}
}

// Every status that says so is answered at once, and asked for again by no later batch.
func TestFetchThatLearnsThatThereIsNoBulkGetAsksOnce(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		s := source(t, doc("d", "", a))
		s.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_get"), Status: status, Body: `{"error":"x"}`})
		l := newLacking(time.Now)
		for range 3 {
			// With the client's own retries, which a 501 would have to wait for.
			got := get(t, s.DB, missing("d 1-aaaa"), func(f *fetch) {
				f.singly = l.has(ref("s", 1))
				f.lacksBulkGet = func() { l.add(ref("s", 1)) }
			})
			expect(t, "documents", got.inline, "d 1-aaaa")
		}
		if n := s.Server.Requests().Of("POST", "_bulk_get"); n != 1 {
			t.Errorf("%d: asked %d times", status, n)
		}
	}
}
