package writer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// refusal is an answer that refuses a request as a whole.
type refusal struct {
	status       int
	word, reason string
}

// target answers _bulk_docs as a test says.
type target struct {
	// refuse says what is wrong with a request that has these ids.
	refuse func(ids []string) *refusal
	// row says what is wrong with one document of a request that was accepted.
	row      func(id string) *couch.DocResult
	requests int
	written  map[string]int
}

func (s *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Docs []struct {
			ID string `json:"_id"`
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	s.requests++
	var ids []string
	for _, d := range body.Docs {
		ids = append(ids, d.ID)
	}
	if s.refuse != nil {
		if no := s.refuse(ids); no != nil {
			w.WriteHeader(no.status)
			json.NewEncoder(w).Encode(map[string]string{"error": no.word, "reason": no.reason}) //nolint:errcheck // a test server
			return
		}
	}
	results := []couch.DocResult{}
	for _, id := range ids {
		if s.row != nil {
			if no := s.row(id); no != nil {
				results = append(results, *no)
				continue
			}
		}
		s.written[id]++
	}
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(results) //nolint:errcheck // a test server
}

// write applies n documents to the target.
func (s *target) write(t *testing.T, docs []document) (*apply, error) {
	t.Helper()
	s.written = map[string]int{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	db, err := couch.Open(couch.Endpoint{URL: server.URL + "/db"}, couch.Options{Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	a := &apply{db: db}
	return a, a.write(context.Background(), docs)
}

func someDocs(n int) []document {
	out := make([]document, n)
	for i := range out {
		out[i] = doc(fmt.Sprintf("d%03d", i), "1-abc")
	}
	return out
}

func doc(id, rev string) document {
	return document{&millracev1.DocRef{Id: id, Rev: rev}, fmt.Appendf(nil, `{"_id":%q,"_rev":%q}`, id, rev)}
}

func rejectedIDs(a *apply) []string {
	var ids []string
	for _, r := range a.rejected {
		ids = append(ids, r.Id)
	}
	slices.Sort(ids)
	return ids
}

func TestCulpritOfARefusedRequestIsFoundAndTheRestWritten(t *testing.T) {
	s := &target{refuse: func(ids []string) *refusal {
		if slices.Contains(ids, "d137") {
			return &refusal{http.StatusBadRequest, "doc_validation", "Bad special document member: _zing"}
		}
		return nil
	}}
	a, err := s.write(t, someDocs(200))
	if err != nil {
		t.Fatal(err)
	}
	if got := rejectedIDs(a); !slices.Equal(got, []string{"d137"}) {
		t.Fatalf("rejected %v", got)
	}
	if r := a.rejected[0]; r.Status != 400 || r.Error != "doc_validation" || r.Reason == "" || r.Rev != "1-abc" {
		t.Fatalf("recorded %v", r)
	}
	if len(s.written) != 199 || len(a.written) != 199 {
		t.Fatalf("%d written, %d counted", len(s.written), len(a.written))
	}
	if s.requests > 2*8+1 {
		t.Fatalf("%d requests to find one of 200", s.requests)
	}
}

func TestIllegalIDsAreTriedAloneFirst(t *testing.T) {
	s := &target{refuse: func(ids []string) *refusal {
		if slices.Contains(ids, "_bad") {
			return &refusal{http.StatusBadRequest, "illegal_docid", "Only reserved document ids may start with underscore."}
		}
		return nil
	}}
	a, err := s.write(t, append(someDocs(100), doc("_bad", "1-abc")))
	if err != nil {
		t.Fatal(err)
	}
	if got := rejectedIDs(a); !slices.Equal(got, []string{"_bad"}) || len(a.written) != 100 {
		t.Fatalf("rejected %v, written %d", got, len(a.written))
	}
	if s.requests != 3 {
		t.Fatalf("%d requests, want the whole, the suspect and the rest", s.requests)
	}
}

func TestRefusalThatAllShareCostsOneRequestEach(t *testing.T) {
	s := &target{refuse: func([]string) *refusal {
		return &refusal{http.StatusBadRequest, "illegal_docid", "Doc id must be of form partition:id"}
	}}
	const n = 64
	a, err := s.write(t, someDocs(n))
	if err != nil {
		t.Fatal(err)
	}
	if len(a.rejected) != n {
		t.Fatalf("%d rejected", len(a.rejected))
	}
	if s.requests != n+3 {
		t.Fatalf("%d requests for %d documents", s.requests, n)
	}
}

func TestWriterSplitsBatchOn413(t *testing.T) {
	s := &target{refuse: func(ids []string) *refusal {
		if len(ids) > 7 || (len(ids) == 1 && ids[0] == "d003") || slices.Contains(ids, "d003") {
			return &refusal{http.StatusRequestEntityTooLarge, "too_large", "the request entity is too large"}
		}
		return nil
	}}
	a, err := s.write(t, someDocs(50))
	if err != nil {
		t.Fatal(err)
	}
	if got := rejectedIDs(a); !slices.Equal(got, []string{"d003"}) || len(a.written) != 49 {
		t.Fatalf("rejected %v, written %d", got, len(a.written))
	}
}

func TestRowsThatAreRefusedAreRecordedAndTheOthersCounted(t *testing.T) {
	s := &target{row: func(id string) *couch.DocResult {
		if strings.HasSuffix(id, "5") {
			return &couch.DocResult{ID: id, Rev: "1-abc", Err: "forbidden", Reason: "no fives"}
		}
		return nil
	}}
	a, err := s.write(t, someDocs(20))
	if err != nil {
		t.Fatal(err)
	}
	if got := rejectedIDs(a); !slices.Equal(got, []string{"d005", "d015"}) || len(a.written) != 18 {
		t.Fatalf("rejected %v, written %d", got, len(a.written))
	}
	if r := a.rejected[0]; r.Status != http.StatusForbidden || r.Reason != "no fives" || r.Stage != Name {
		t.Fatalf("recorded %v", r)
	}
}

func TestRowThatTheServerFailedAtIsWrittenAgain(t *testing.T) {
	failures := 2
	s := &target{row: func(id string) *couch.DocResult {
		if id == "d004" && failures > 0 {
			failures--
			return &couch.DocResult{ID: id, Rev: "1-abc", Err: "internal_server_error", Reason: "timeout"}
		}
		return nil
	}}
	a, err := s.write(t, someDocs(10))
	if err != nil || len(a.written) != 10 || len(a.rejected) != 0 {
		t.Fatalf("written %d, rejected %v, %v", len(a.written), a.rejected, err)
	}
	if s.written["d003"] != 1 {
		t.Fatal("a document that was written was written again")
	}
}

func TestTwoLeavesOfADocumentFailOneByOne(t *testing.T) {
	s := &target{row: func(id string) *couch.DocResult {
		return &couch.DocResult{ID: id, Rev: "2-b", Err: "forbidden", Reason: "no"}
	}}
	a, err := s.write(t, []document{doc("a", "2-b")})
	if err != nil || len(a.rejected) != 1 || len(a.written) != 0 {
		t.Fatalf("written %d, rejected %v, %v", len(a.written), a.rejected, err)
	}
}

func TestMissingStubAsksForTheAttachments(t *testing.T) {
	s := &target{refuse: func([]string) *refusal {
		return &refusal{http.StatusPreconditionFailed, "missing_stub", "Invalid attachment stub in d000 for a.txt"}
	}}
	stubbed := someDocs(2)
	stubbed[0].ref.Stubs = true
	if _, err := s.write(t, stubbed); !errors.Is(err, errMissingStub) {
		t.Fatalf("got %v", err)
	}
	// Without a stub to blame the documents are to blame.
	a, err := s.write(t, someDocs(2))
	if err != nil || len(a.rejected) != 2 {
		t.Fatalf("rejected %v, %v", a.rejected, err)
	}
}

func TestDeniedAccessEndsTheRunAndRejectsNothing(t *testing.T) {
	s := &target{refuse: func([]string) *refusal {
		return &refusal{http.StatusForbidden, "forbidden", "You are not allowed to access this db."}
	}}
	a, err := s.write(t, someDocs(3))
	if err == nil || len(a.rejected) != 0 || couch.Classify(err) != couch.Permanent {
		t.Fatalf("rejected %v, %v", a.rejected, err)
	}
}
