package replicator_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// A server that throttles for a moment is waited for; the job does not crash.
func TestThrottledServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 50)
	for _, d := range []*databasetest.Database{source, target} {
		d.Server.Inject(millpond.Fault{Times: 10, Status: http.StatusTooManyRequests, Body: `{"error":"too_many_requests","reason":"slow down"}`})
	}
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Finish(p.Submit(source, target, small+`,"retries_per_request":0`).Id)
	if job.ErrorCount != 0 || job.Throttled {
		t.Errorf("%v", job)
	}
	databasetest.SameLeaves(t, source, target)
}

// One that asks for more than a run may wait ends the run with CouchDB's word; the next begins
// when the server has said, and gently.
func TestServerThatThrottlesForLongEndsTheRun(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/_bulk_docs", "/_bulk_get", "limit=0", "feed=", "/_local/", "/_revs_diff"} {
		source, target := databases(t)
		source.Fill(t, 0, 50)
		for _, d := range []*databasetest.Database{source, target} {
			d.Server.Inject(millpond.Fault{
				Match:  func(r *http.Request) bool { return strings.Contains(r.URL.RequestURI(), path) },
				Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}},
				Body: `{"error":"too_many_requests","reason":"slow down"}`,
			})
		}
		p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
		id := p.Submit(source, target, small).Id
		job := p.AwaitJob(id, "crashes", func(j *millracev1.Job) bool { return j.State == string(replication.Crashing) && !j.Active })
		if !strings.Contains(job.Reason, "max_backoff") || !job.Throttled {
			t.Errorf("%s: crashed as %v", path, job)
		}
		if at := time.Until(time.Unix(0, job.RetryAt)); at < 50*time.Minute {
			t.Errorf("%s: tried again in %v", path, at)
		}
	}
}
