package replicator_test

import (
	"testing"

	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/pipelinetest"
)

// CouchDB's scheduler keeps a job's counters in memory, so that they go on after a crash
// although no checkpoint has them; what is looked at again is counted again.
func TestCountersOutliveACrashWithoutCheckpoints(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 10)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, `,"continuous":true,"use_checkpoints":false`)
	// A loaded machine may have a batch routed twice, which counts once or again; never less.
	checked := func(n uint64) {
		t.Helper()
		p.Await("the run has got this far", func() bool {
			return p.Progress(job.Id).GetCounters().GetMissingChecked() >= n
		})
	}
	crash := func(document int) (checked uint64, heal func()) {
		t.Helper()
		heal = target.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_revs_diff"), Status: 500, Body: `{"error":"x"}`})
		source.Fill(t, document, 1)
		j := p.AwaitJob(job.Id, "crashes", func(j *millracev1.Job) bool { return j.State == string(replication.Crashing) })
		return j.Totals.GetMissingChecked(), heal
	}
	checked(10)
	first, heal := crash(10)
	if first < 10 {
		t.Errorf("%d were looked at before the first crash", first)
	}
	heal()
	checked(11) // all of them again
	second, heal := crash(11)
	if second < first+11 {
		t.Errorf("%d were looked at before the first crash, %d before the second", first, second)
	}
	heal()
	p.Cancel(job.Id)
}

// A job that is removed and made again goes on with the totals of its checkpoints.
func TestCountersOutliveTheJob(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	before := uint64(0) // run of the session before
	for session, total := range []int{10, 15, 21} {
		there := len(source.Leaves(t))
		source.Fill(t, there, total-there)
		job := p.Submit(source, target, `,"continuous":true`)
		p.Await("everything was looked at", func() bool {
			at := p.Progress(job.Id)
			if at.GetRun() <= before || at.GetCounters().GetMissingChecked() < uint64(total-there) {
				return false
			}
			before = at.GetRun()
			return true
		})
		p.Cancel(job.Id)
		log := source.Checkpoint(t, job)
		if log == nil || len(log.History) <= session || log.History[0].Stats.MissingChecked < int64(total) {
			t.Errorf("in session %d, of %d documents: %+v", session+1, total, log)
		}
	}
}
