package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
)

// answer is a rule by which requests get an answer that is not the server's.
func answer(match func(*http.Request) bool, status int, body string) chaosproxy.Rule {
	return chaosproxy.Rule{
		Match: match, Do: chaosproxy.Reply(status, http.Header{"Content-Type": {"application/json"}}, body),
	}
}

// six are five plain documents, and one whose attachment is too large to travel inside it: a
// request of its own writes it.
func six(s scenario) {
	numbered(s.T, s.source, 1, 5)
	attach(s.T, s.source, "6", "att", "app/binary", strings.Repeat("wheel", 400_000))
}

func putOfSix(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/6")
}

// CouchDB's t_skip_doc_put_*: the target is content, but for one document.
func TestDocumentThatIsRefusedWhenWrittenAloneIsCountedAndSkipped(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"401":             {401, `{"error":"unauthorized","reason":"vdu"}`},
		"403":             {403, `{"error":"forbidden","reason":"vdu"}`},
		"413":             {413, `{"error":"too_large","reason":"too_large"}`},
		"415":             {415, `{"error":"unsupported_media_type","reason":"bad_media"}`},
		"attachment name": {400, `{"error":"bad_request","reason":"Attachment name '_foo' starts with prohibited character '_'"}`},
		// CouchDB's replicator ends at these (t_fail_doc_put_4xx_*). The document is to blame all the same.
		"400":             {400, `{"error":"x","reason":"y"}`},
		"unexpected JSON": {400, `{"a":"b"}`},
		"no JSON":         {400, `potato`},
	} {
		t.Run(name, func(t *testing.T) {
			s := onMillponds(t)
			six(s)
			rule := through(t, &s.target).Add(answer(putOfSix, c.status, c.body))
			got := s.replicate().Exited(program.ExitRejected)
			if got.DocsRead != 6 || got.DocsWritten != 5 || got.DocWriteFailures != 1 || rule.Hits() == 0 {
				t.Errorf("%+v, %d refusals", got.Counters, rule.Hits())
			}
			rule.Remove()
			s.except("6")
		})
	}
}

// CouchDB's t_fail_*: what is refused as a whole is nobody's fault and nothing to skip.
func TestStepThatIsRefusedEndsTheRunAndTheNextOneFinishes(t *testing.T) {
	atSource, atTarget := func(s *scenario) *string { return &s.source }, func(s *scenario) *string { return &s.target }
	for name, c := range map[string]struct {
		side   func(s *scenario) *string
		match  func(*http.Request) bool
		status int
	}{
		"_bulk_docs 403": {atTarget, chaosproxy.On(chaosproxy.BulkDocs), 403},
		"_changes 418":   {atSource, chaosproxy.On(chaosproxy.Changes), 418},
		"_revs_diff 407": {atTarget, chaosproxy.On(chaosproxy.RevsDiff), 407},
	} {
		t.Run(name, func(t *testing.T) {
			s := onMillponds(t)
			numbered(t, s.source, 1, 6)
			direct := s
			rule := through(t, c.side(&s)).Add(answer(c.match, c.status, `{"x":"y"}`))
			r := s.replicate("--retries", "1")
			got := r.Exited(program.ExitFailed)
			if said := r.Stderr.String(); !strings.Contains(said, name[len(name)-3:]) || got.DocWriteFailures != 0 || got.DocsWritten != 0 {
				t.Errorf("%+v: %s", got.Counters, said)
			}
			rule.Remove()
			if again := s.replicate().Completed(); again.DocsWritten != 6 {
				t.Errorf("%+v", again.Counters)
			}
			direct.same()
		})
	}
}

func TestDocumentThatCannotBeReadAloneEndsTheRunAndTheNextOneFinishes(t *testing.T) {
	s := onMillponds(t)
	numbered(t, s.source, 1, 6)
	direct := s
	rule := through(t, &s.source).Add(chaosproxy.Rule{
		Match: func(r *http.Request) bool { return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/6") },
		Do:    chaosproxy.ServerError(500),
	})
	r := s.replicate("--retries", "1", "--no-bulk-get", "--retries-per-request", "2")
	r.Exited(program.ExitFailed)
	if said := r.Stderr.String(); !strings.Contains(said, "500") || rule.Hits() < 3 {
		t.Errorf("after %d tries: %s", rule.Hits(), said)
	}
	rule.Remove()
	s.replicate("--no-bulk-get").Completed()
	direct.same()
}

func TestBulkGetThatIsRefusedIsDoneWithout(t *testing.T) {
	for _, status := range []int{501, 418, 500, 400, 404, 405} {
		s := onMillponds(t)
		numbered(t, s.source, 1, 6)
		direct := s
		proxy := through(t, &s.source)
		rule := proxy.Add(answer(chaosproxy.On(chaosproxy.BulkGet), status, `{"x":"y"}`))
		if got := s.replicate("--retries-per-request", "0").Completed(); got.DocsWritten != 6 || rule.Hits() == 0 {
			t.Errorf("%d: %+v, %d refusals", status, got.Counters, rule.Hits())
		}
		if n := proxy.Counts()[chaosproxy.Document].Requests; n != 6 {
			t.Errorf("%d: %d documents were read alone", status, n)
		}
		direct.same()
	}
}
