package replicator_test

import (
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func databases(t *testing.T) (source, target *pipelinetest.Database) {
	t.Helper()
	return pipelinetest.NewDatabase(t, millpond.Options{}), pipelinetest.NewDatabase(t, millpond.Options{})
}

// The reader measures by the log of routed batches how far it is ahead, and checkpoints
// purge that log: what is purged must not be what the reader waits for.
func TestContinuousJobOutlivesTheReadersWindow(t *testing.T) {
	source, target := databases(t)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, `,"continuous":true`)
	p.AwaitJob(job.Id, "runs", func(j *millracev1.Job) bool { return j.Active })
	for i := range 70 {
		source.Fill(t, i, 1)
		p.Await("the change is checkpointed", func() bool {
			progress := p.Progress(job.Id)
			return progress.GetCounters().GetDocsWritten() == uint64(i+1)
		})
	}
	pipelinetest.SameLeaves(t, source, target)
}
