package fetcher_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/fetcher"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

const follows = `,"continuous":true,"worker_batch_size":20`

// gated is a target that writes nothing until it is let. Its pipeline ends only then.
func gated(t *testing.T) (target *databasetest.Database, open func()) {
	t.Helper()
	gate := make(chan struct{})
	open = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	return databasetest.New(t, millpond.Options{Validate: func(string, string, []byte) error { <-gate; return nil }}), open
}

// bulky are documents of about so many bytes.
func bulky(t *testing.T, n, size int) *databasetest.Database {
	t.Helper()
	s := databasetest.New(t, millpond.Options{})
	var docs []string
	for i := range n {
		docs = append(docs, fmt.Sprintf(`{"_id":"doc-%04d","_rev":"1-a","x":%q}`, i, strings.Repeat("x", size)))
	}
	s.Write(t, docs...)
	return s
}

func writes(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/_bulk_docs") }

// One target is stopped, one refuses everything, one fails again and again: the others have what the source has, and the
// stopped one gets it when it goes on.
func TestTargetsThatAreStoppedOrFailHoldUpNobody(t *testing.T) {
	t.Parallel()
	source, well := bulky(t, 300, 100), databases(t, 2)
	stopped, open := gated(t)
	refusing := databasetest.New(t, millpond.Options{Validate: func(string, string, []byte) error { return millpond.Forbidden("no") }})
	failing := databasetest.New(t, millpond.Options{})
	remove := failing.Server.Inject(millpond.Fault{Match: writes, Status: http.StatusServiceUnavailable, Body: `{"error":"x"}`})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	t.Cleanup(open)
	var jobs []*millracev1.Job
	for _, target := range append([]*databasetest.Database{stopped, refusing, failing}, well...) {
		jobs = append(jobs, p.Submit(source, target, follows))
	}
	p.AwaitLeaves(source, well...)
	p.Await("all are recorded that one refuses", func() bool {
		return len(p.Messages(p.Broker().Streams().Failures, p.Broker().Subjects().Failures(jobs[1].Id, "*"))) == 300
	})
	open()
	remove()
	p.AwaitLeaves(source, stopped, failing)
}

// A slow target does not pin what it has not written: BODIES drops the oldest, and they are fetched again.
func TestSlowTargetHasFetchedAgainWhatWasDropped(t *testing.T) {
	t.Parallel()
	source, well := count(t, bulky(t, 1000, 8000)), databases(t, 2)
	stopped, open := gated(t)
	const capacity = 4 << 20
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), BodiesCapacity: capacity})
	t.Cleanup(open)
	for _, target := range append(well, stopped) {
		p.Submit(source.Database, target, follows)
	}
	p.AwaitLeaves(source.Database, well...)
	if _, bytes := bodiesIn(t, p); bytes > capacity {
		t.Errorf("BODIES has %d bytes", bytes)
	}
	before := source.bytes.Load()
	open()
	p.AwaitLeaves(source.Database, stopped)
	if more := source.bytes.Load() - before; more < 1<<19 {
		t.Errorf("the source handed out %d bytes more: what of the first batches was not gone?", more)
	}
}

// What is known of BODIES goes with the process; nothing else does.
func TestFetcherThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	source, to := bulky(t, 400, 100), databases(t, 3)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(fetcher.Name)})
	first := p.Run(fetcher.Name)
	for _, target := range to {
		p.Submit(source, target, follows)
	}
	p.Await("some documents have arrived", func() bool { return len(to[0].Leaves(t)) > 0 })
	first.Kill()
	p.Run(fetcher.Name)
	p.AwaitLeaves(source, to...)
}

// A document that is edited while it is replicated is in several batches, and what is returned for an older
// revision is a newer one.
func TestDocumentsInSeveralBatchesArrive(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), databases(t, 4)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	for _, target := range to {
		p.Submit(source, target, follows)
	}
	history := []string{"aaaa"}
	for generation := range 30 {
		history = append([]string{fmt.Sprintf("%04d", generation)}, history...)
		var docs []string
		for i := range 10 {
			docs = append(docs, doc(fmt.Sprint("doc-", i), fmt.Sprintf(`,"n":%d`, generation), history...))
		}
		source.Write(t, docs...)
	}
	p.AwaitLeaves(source, to...)
}
