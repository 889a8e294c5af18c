package failures_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"millrace/pkg/broker"
	"millrace/pkg/broker/brokertest"
	"millrace/pkg/failures"
	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) (*failures.Store, *broker.Broker) {
	t.Helper()
	b := brokertest.Start(t)
	p := broker.NewPublisher(b, broker.PublisherOptions{})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return failures.NewStore(b, p), b
}

func put(t *testing.T, s *failures.Store, job string, r *millracev1.Rejection, doc string) *failures.Record {
	t.Helper()
	var bytes []byte
	if doc != "" {
		bytes = []byte(doc)
	}
	out, err := s.Put(t.Context(), job, r, bytes)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func forbidden(id, rev string, ordinal uint64) *millracev1.Rejection {
	return &millracev1.Rejection{
		Id: id, Rev: rev, Stage: "bulk-writer", Status: 403, Error: "forbidden", Reason: "no", Attempts: 1,
		Position: &millracev1.Position{Job: "job", Run: 1, Ordinal: ordinal},
	}
}

func TestARevisionHasOneRecordThatCountsItsAttempts(t *testing.T) {
	s, _ := open(t)
	first := put(t, s, "job", forbidden("doc", "1-a", 1), `{"_id":"doc"}`)
	put(t, s, "job", forbidden("doc", "1-b", 1), "")
	put(t, s, "other", forbidden("doc", "1-a", 1), "")
	for range 2 { // a batch that is worked on twice
		if r := put(t, s, "job", forbidden("doc", "1-a", 2), `{"_id":"doc","v":2}`); r.Attempts != 2 || r.FirstTime != first.Time {
			t.Errorf("recorded %v", r)
		}
	}
	if n, err := s.Count(t.Context(), "job"); n != 2 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
	r, err := s.Get(t.Context(), "job", "doc", "1-a")
	if err != nil || r.Attempts != 2 {
		t.Fatalf("%v, %v", r, err)
	}
	if doc, err := s.Document(t.Context(), r); string(doc) != `{"_id":"doc","v":2}` {
		t.Errorf("kept %s, %v", doc, err)
	}
	if _, err := s.Document(t.Context(), first); !errors.Is(err, failures.ErrNotKept) {
		t.Errorf("the document of a record that was replaced: %v", err)
	}
	if err := s.Remove(t.Context(), first); err != nil { // it is another one by now
		t.Fatal(err)
	}
	for range 2 {
		if r, err = s.Get(t.Context(), "job", "doc", "1-a"); err == nil {
			err = s.Remove(t.Context(), r)
		}
	}
	if !errors.Is(err, failures.ErrUnknown) {
		t.Errorf("what was removed: %v", err)
	}
	jobs, err := s.Jobs(t.Context(), []string{"job"})
	if err != nil || len(jobs) != 2 || jobs["job"] != 1 || jobs["other"] != 1 {
		t.Errorf("%v, %v", jobs, err)
	}
	if err := s.RemoveAll(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if jobs, err = s.Jobs(t.Context(), []string{"job"}); err != nil || len(jobs) != 1 || jobs["job"] != 1 {
		t.Errorf("%v, %v", jobs, err)
	}
}

// A source that has the document no more does not take the copy away.
func TestTheCopyStaysWhenTheSourceGivesNothingMore(t *testing.T) {
	s, _ := open(t)
	put(t, s, "job", forbidden("doc", "1-a", 1), `{"_id":"doc"}`)
	gone := &millracev1.Rejection{Id: "doc", Rev: "1-a", Stage: "doc-fetcher", Status: 404, Error: "not_found", Attempts: 3}
	r := put(t, s, "job", gone, "")
	if doc, err := s.Document(t.Context(), r); string(doc) != `{"_id":"doc"}` || r.Attempts != 4 || r.Size == 0 {
		t.Errorf("kept %s, %v of %v", doc, err, r)
	}
}

func TestOnlySmallAndCompleteDocumentsAreKept(t *testing.T) {
	s, _ := open(t)
	for name, c := range map[string]struct {
		doc  string
		kept bool
	}{
		"small":             {`{"_id":"doc"}`, true},
		"at the limit":      {`{"_id":"doc","v":"` + strings.Repeat("x", failures.DocumentLimit-20) + `"}`, true},
		"over the limit":    {`{"_id":"doc","v":"` + strings.Repeat("x", failures.DocumentLimit) + `"}`, false},
		"inline attachment": {`{"_id":"doc","_attachments":{"a":{"data":"eA=="}}}`, true},
		"stub":              {`{"_id":"doc","_attachments":{"a":{"stub":true}}}`, false},
		"following":         {`{"_id":"doc","_attachments":{"b":{"data":"eA=="},"a":{"follows":true}}}`, false},
		"no document":       {`nonsense`, false},
		"not given":         {``, false},
	} {
		r := put(t, s, "job", forbidden(name, "1-a", 1), c.doc)
		doc, err := s.Document(t.Context(), r)
		if kept := err == nil; kept != c.kept || kept && string(doc) != c.doc {
			t.Errorf("%s: kept %t, %v", name, kept, err)
		}
		if r.Size != uint64(len(c.doc)) {
			t.Errorf("%s: size %d of %d", name, r.Size, len(c.doc))
		}
	}
}

func TestRecordsHaveNoCredentialsAndNoEndlessReasons(t *testing.T) {
	s, b := open(t)
	r := forbidden("doc", "1-a", 1)
	r.Reason = "at http://adm:secret@example.org/db: " + strings.Repeat("é", 10_000)
	if got := put(t, s, "job", r, "").Reason; len(got) > 3<<10 || !strings.Contains(got, "example.org") || strings.ToValidUTF8(got, "!") != got {
		t.Errorf("%q", got)
	}
	e, err := b.Last(t.Context(), b.Streams().Failures, b.Subjects().Failures("job", broker.Any))
	if err != nil || strings.Contains(string(e.Data), "secret") {
		t.Errorf("%q, %v", e.Data, err)
	}
}

// The store is a map from revisions to records, whatever is done to it.
func TestStoreIsAMap(t *testing.T) {
	s, _ := open(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		job := fmt.Sprintf("job-%d", n)
		model := map[string]uint32{}
		ids := []string{"a", "a\x01", "é+/ .>*", strings.Repeat("long", 500)}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			id, rev := rapid.SampledFrom(ids).Draw(rt, "id"), rapid.SampledFrom([]string{"1-a", "2-b"}).Draw(rt, "rev")
			key := id + " " + rev
			if rapid.Bool().Draw(rt, "put") {
				model[key]++
				r := forbidden(id, rev, uint64(model[key]))
				if got := put(t, s, job, r, `{}`); got.Attempts != model[key] {
					rt.Fatalf("%d attempts, expected %d", got.Attempts, model[key])
				}
				continue
			}
			r, err := s.Get(t.Context(), job, id, rev)
			if _, there := model[key]; there != (err == nil) {
				rt.Fatalf("%s is there: %t, %v", key, there, err)
			}
			if err == nil {
				delete(model, key)
				if err := s.Remove(t.Context(), r); err != nil {
					rt.Fatal(err)
				}
			}
		}
		index, err := s.Index(t.Context(), job)
		if err != nil {
			rt.Fatal(err)
		}
		var got []string
		err = s.Each(t.Context(), job, func(r *failures.Record) error {
			got = append(got, r.Id+" "+r.Rev)
			return nil
		})
		if err != nil || len(got) != len(model) {
			rt.Fatalf("%v, expected %v, %v", got, model, err)
		}
		for _, id := range ids {
			for _, rev := range []string{"1-a", "2-b"} {
				_, there := model[id+" "+rev]
				if slices.Contains(got, id+" "+rev) != there || index.Has(id, rev) != there {
					rt.Fatalf("%s %s is there: %t", id, rev, there)
				}
			}
		}
	})
}
