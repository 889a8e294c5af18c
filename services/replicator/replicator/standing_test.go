package replicator_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/pkg/millpond"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// Targets that take a request and never answer hold up nobody, whether they share their feed with others or not:
// at first they have all places to work that the stages give to few.
func TestTargetsThatStandStillLeavePlacesToOthers(t *testing.T) {
	t.Parallel()
	const (
		standing = 12
		places   = 32 // of a stage
		docs     = 100
	)
	for _, c := range []struct{ request, feeds string }{{"_revs_diff", "feeds of their own"}, {"_bulk_docs", "one feed"}} {
		t.Run(c.request+" on "+c.feeds, func(t *testing.T) {
			source, to := databasetest.New(t, millpond.Options{}), targets(t, standing+2)
			source.Fill(t, 0, docs)
			var asked atomic.Int64
			for _, target := range to[:standing] {
				target.Server.Inject(millpond.Fault{Delay: time.Hour, Match: func(r *http.Request) bool {
					hit := strings.HasSuffix(r.URL.Path, c.request)
					if hit {
						asked.Add(1)
					}
					return hit
				}})
			}
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
			const options = `,"continuous":true,"connection_timeout":3600000`
			if c.feeds == "one feed" {
				entries := make([]string, len(to))
				for i, target := range to {
					entries[i] = fmt.Sprintf("%q", target.Address())
				}
				p.SubmitAll(source, strings.Join(entries, ","), options+small)
			} else {
				for i, target := range to[:standing] {
					p.Submit(source, target, fmt.Sprintf(`%s,"worker_batch_size":%d`, options, 2+i%4))
				}
			}
			p.Await("the targets are asked what they do not answer", func() bool { return asked.Load() >= places })
			if c.feeds != "one feed" {
				for i, target := range to[standing:] {
					p.Submit(source, target, fmt.Sprintf(`%s,"worker_batch_size":%d`, options, 6+i))
				}
			}
			source.Fill(t, docs, docs)
			p.AwaitLeaves(source, to[standing:]...)
			for i, target := range to[:standing] {
				if n := len(target.Leaves(t)); n != 0 {
					t.Errorf("target %d stands still and has %d documents", i, n)
				}
			}
		})
	}
}
