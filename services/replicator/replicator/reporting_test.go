package replicator_test

import (
	"net/http"
	"strings"
	"testing"

	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// The tests of this file say by behaviour what CouchDB's error_reporting tests say (reference 7.1): what a
// database refuses without blaming a document ends the run, with CouchDB's words, and the job
// comes back.

// failing matches one kind of request that is answered with an error.
func failing(method, suffix string, status int, body string) millpond.Fault {
	return millpond.Fault{Match: millpond.Matching(method, suffix), Status: status, Body: body}
}

// t_fail_bulk_docs, t_fail_revs_diff, t_fail_changes_reader, t_fail_open_docs_get.
func TestWhatBlamesNoDocumentCrashesTheJobInCouchDBsWords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source, target *millpond.Fault
		options        string
		words          []string
	}{
		"t_fail_bulk_docs": {
			target: ptr(failing("POST", "/_bulk_docs", 403, `{"error":"forbidden","reason":"You are not allowed to access this db."}`)),
			words:  []string{"bulk_docs_failed 403", "forbidden", "You are not allowed to access this db."},
		},
		"t_fail_revs_diff": {
			target: ptr(failing("POST", "/_revs_diff", 407, `{"error":"proxy","reason":"authentication"}`)),
			words:  []string{"revs_diff_failed 407", "proxy", "authentication"},
		},
		"t_fail_changes_reader": {
			source: ptr(millpond.Fault{
				Match: func(r *http.Request) bool {
					return strings.HasSuffix(r.URL.Path, "/_changes") && r.URL.Query().Get("limit") != "0"
				},
				Status: 418, Body: `{"error":"teapot","reason":"short and stout"}`,
			}),
			words: []string{"changes_req_failed 418", "teapot", "short and stout"},
		},
		"t_fail_open_docs_get": {
			source:  ptr(millpond.Fault{Match: func(r *http.Request) bool { return r.URL.Query().Has("open_revs") }, Status: 418, Body: `{"error":"teapot","reason":"short and stout"}`}),
			options: `,"use_bulk_get":false`,
			words:   []string{"open_doc_revs_failed 418", "teapot", "short and stout"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
			source.Fill(t, 0, 10)
			var remove func()
			if c.source != nil {
				remove = source.Server.Inject(*c.source)
			} else {
				remove = target.Server.Inject(*c.target)
			}
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
			job := p.Submit(source, target, c.options)
			crashed := p.AwaitJob(job.Id, "crashes", func(j *millracev1.Job) bool { return j.State == string(replication.Crashing) })
			for _, word := range c.words {
				if !strings.Contains(crashed.Reason, word) {
					t.Errorf("reason %q has no %q", crashed.Reason, word)
				}
			}
			remove()
			p.Finish(job.Id)
			databasetest.SameLeaves(t, source, target)
		})
	}
}

func ptr[T any](v T) *T { return &v }

// t_skip_doc_put_401_errors, _403_, _413_, _415_ and t_skip_doc_put_invalid_attachment_name:
// the job succeeds, with 5 documents written and one counted as refused. Those documents are
// written alone, and those that travel together are refused alone.
func TestRefusedDocumentsAreSkippedAndCounted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"t_skip_doc_put_401_errors":              {401, `{"error":"unauthorized","reason":"vdu"}`},
		"t_skip_doc_put_403_errors":              {403, `{"error":"forbidden","reason":"vdu"}`},
		"t_skip_doc_put_413_errors":              {413, `{"error":"too_large","reason":"too_large"}`},
		"t_skip_doc_put_415_errors":              {415, `{"error":"unsupported_media_type","reason":"bad_media"}`},
		"t_skip_doc_put_invalid_attachment_name": {400, `{"error":"bad_request","reason":"Attachment name '_foo' starts with prohibited character '_'"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
			for _, id := range []string{"a", "b", "c", "d", "e", "refused"} {
				source.PutAttachment(t, id, "blob", strings.Repeat("blob", 1<<19))
			}
			target.Server.Inject(failing("PUT", "/refused", c.status, c.body))
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
			done := p.Finish(p.Submit(source, target, "").Id)
			if got := done.Totals; got.DocsWritten != 5 || got.DocWriteFailures != 1 {
				t.Errorf("counted %v", got)
			}
			records := p.Messages(p.Broker().Streams().Failures, p.Broker().Subjects().Failures(done.Id, "*"))
			if len(records) != 1 {
				t.Fatalf("%d records", len(records))
			}
			var r millracev1.Rejection
			p.Decode(records[0], &r)
			if r.Id != "refused" || int(r.Status) != c.status || !strings.Contains(c.body, r.Error) || !strings.Contains(c.body, r.Reason) {
				t.Errorf("recorded %v", &r)
			}
		})
	}
}

// t_fail_bulk_get: 501 and 418 on _bulk_get are followed by a request for each document.
func TestFailingBulkGetIsFollowedByARequestForEachDocument(t *testing.T) {
	t.Parallel()
	for _, status := range []int{501, 418} {
		source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
		source.Fill(t, 0, 10)
		source.Server.Inject(failing("POST", "/_bulk_get", status, `{"error":"x","reason":"y"}`))
		p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
		if done := p.Finish(p.Submit(source, target, "").Id); done.Totals.DocsWritten != 10 || done.Totals.DocWriteFailures != 0 || done.ErrorCount != 0 {
			t.Errorf("%d: counted %v", status, done.Totals)
		}
	}
}
