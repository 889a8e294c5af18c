package writer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"millrace/pkg/couch"
)

// server is a target whose code crashes at some documents, and that may be ill: as a whole, or
// a shard of it.
type sickServer struct {
	poison   map[string]bool
	ill      func(id string, request int) bool
	requests int
	written  map[string]bool
}

var errCrash = &couch.HTTPError{Status: http.StatusInternalServerError, Err: "unknown_error", Reason: "badarith"}

func (s *sickServer) isIll(id string) bool { return s.ill != nil && s.ill(id, s.requests) }

func (s *sickServer) BulkDocs(_ context.Context, docs [][]byte, _ couch.BulkDocsOptions) ([]couch.DocResult, error) {
	s.requests++
	var ids []string
	for _, d := range docs {
		id := strings.Split(string(d), `"`)[3]
		if s.poison[id] || s.isIll(id) {
			return nil, errCrash
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		s.written[id] = true
	}
	return nil, nil
}

func (s *sickServer) WriteBeside(_ context.Context, id string) error {
	s.requests++
	if s.isIll(id) {
		return errCrash
	}
	return nil
}

// run writes documents and tries those at which the server fails.
func (s *sickServer) run(t *testing.T, n int) (a *apply, err error) {
	t.Helper()
	s.written = map[string]bool{}
	a = &apply{db: s}
	synctest.Test(t, func(t *testing.T) {
		if err = a.write(t.Context(), someDocs(n)); err == nil {
			err = a.try(t.Context())
		}
	})
	return a, err
}

func TestDocumentAtWhichTheServerCrashesIsRejectedAndTheOthersArrive(t *testing.T) {
	for _, poison := range [][]string{{"d003"}, {"d000", "d099"}, {"d001", "d002", "d003"}, {"d050"}} {
		s := &sickServer{poison: map[string]bool{}}
		for _, id := range poison {
			s.poison[id] = true
		}
		a, err := s.run(t, 100)
		got := rejectedIDs(a)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, poison) || len(s.written) != 100-len(poison) || len(a.written) != 100-len(poison) {
			t.Errorf("%v: rejected %v, %d written, %v", poison, got, len(s.written), err)
			continue
		}
		if r := a.rejected[0]; r.Status != 500 || r.Error != "unknown_error" || r.Reason != "badarith" || r.Attempts != trials+1 || len(r.doc) == 0 {
			t.Errorf("rejected %v", r)
		}
		if most := 35 * len(poison); s.requests > most {
			t.Errorf("%v: %d requests", poison, s.requests)
		}
	}
}

func TestServerThatFailsAtEverythingRejectsNothingAndIsSoonLeftAlone(t *testing.T) {
	s := &sickServer{ill: func(string, int) bool { return true }}
	a, err := s.run(t, 100)
	if !errors.Is(err, errCrash) || len(a.rejected) > 0 || s.requests > 4 {
		t.Errorf("%v, rejected %v after %d requests", err, a.rejected, s.requests)
	}
}

func TestShardThatFailsRejectsNothing(t *testing.T) {
	for _, n := range []int{1, 100} { // alone, and among others
		s := &sickServer{ill: func(id string, _ int) bool { return strings.HasSuffix(id, "0") }}
		a, err := s.run(t, n)
		if !errors.Is(err, errCrash) || len(a.rejected) > 0 {
			t.Errorf("of %d: %v, rejected %v", n, err, a.rejected)
		}
	}
}

// Whatever the server fails at and for how long: only a document at which it always fails is
// rejected, and what is neither rejected nor written is an error.
func TestNothingGoodIsRejectedWhileAServerIsMerelyIll(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "documents")
		s := &sickServer{poison: map[string]bool{}}
		for range rapid.IntRange(0, 4).Draw(rt, "poison") {
			s.poison[fmt.Sprintf("d%03d", rapid.IntRange(0, n-1).Draw(rt, "id"))] = true
		}
		from := rapid.IntRange(0, 30).Draw(rt, "ill from")
		to := from + rapid.IntRange(0, 60).Draw(rt, "ill for")
		shard := rapid.SampledFrom([]string{"", "0", "5"}).Draw(rt, "shard")
		s.ill = func(id string, request int) bool {
			return request >= from && request < to && strings.HasSuffix(id, shard)
		}
		a, err := s.run(t, n)
		for _, id := range rejectedIDs(a) {
			if !s.poison[id] {
				rt.Fatalf("%s is good and was rejected", id)
			}
		}
		if err == nil && len(s.written)+len(a.rejected) != n {
			rt.Fatalf("%d documents, %d written, %d rejected", n, len(s.written), len(a.rejected))
		}
		if len(a.written) != len(s.written) {
			rt.Fatalf("%d counted, %d written", len(a.written), len(s.written))
		}
	})
}
