package replicator_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/pkg/directory"
	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/replicator/replicator"
)

// logs keeps what services log.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestCrashingJobBacksOffAlone(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	dead := databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 50)
	heal := dead.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_docs"), Status: 503, Body: `{"error":"x","reason":"dead"}`})
	long := make(chan struct{})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), Backoff: func(int) time.Duration {
		select {
		case <-long:
			return time.Millisecond
		default:
			return 3 * time.Second
		}
	}})
	crashing := p.Submit(source, dead, small)
	j := p.AwaitJob(crashing.Id, "crashes", func(j *millracev1.Job) bool { return j.State == string(replication.Crashing) })
	if j.ErrorCount == 0 || j.RetryAt == 0 || !strings.Contains(j.Reason, "bulk-writer") || j.Active {
		t.Errorf("crashed as %v", j)
	}
	p.Finish(p.Submit(source, target, small).Id)
	databasetest.SameLeaves(t, source, target)
	close(long)
	heal()
	p.Finish(crashing.Id)
	databasetest.SameLeaves(t, source, dead)
}

func TestInFlightBatchesOfACrashedRunAreDropped(t *testing.T) {
	t.Parallel()
	source, dead := databases(t)
	source.Fill(t, 0, 50)
	dead.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_docs"), Status: 503, Body: `{"error":"x"}`})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), Backoff: func(int) time.Duration { return time.Hour }})
	job := p.Submit(source, dead, small)
	p.AwaitJob(job.Id, "crashes", func(j *millracev1.Job) bool { return j.State == string(replication.Crashing) })
	s := p.Broker().Streams()
	for _, stream := range []string{s.Selected, s.Missing, s.Write} {
		p.Await("no batch of the run is left in "+stream, func() bool { return len(p.Messages(stream, ">")) == 0 })
	}
	if _, _, err := p.Feeds().Read(t.Context(), p.Job(job.Id).Feed); err == nil {
		t.Error("the feed of the crashed run is still to be read")
	}
}

func TestErrorThatNoAttemptCanMendFailsTheJobWhereItIsWaitedFor(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	if err := target.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), FailPermanent: true})
	job := p.Submit(source, target, "")
	j := p.AwaitJob(job.Id, "fails", func(j *millracev1.Job) bool { return replication.State(j.State).Terminal() })
	if j.State != string(replication.Failed) || !strings.HasPrefix(j.Reason, "db_not_found: could not open") {
		t.Errorf("%s: %s", j.State, j.Reason)
	}
}

func TestJobSubmittedAgainAtItsEndRunsAgain(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	// Every time a little later or earlier in what the owner still does at the end of a run.
	for i := range 15 {
		source.Fill(t, i, 1)
		p.Finish(p.Submit(source, target, "").Id)
		databasetest.SameLeaves(t, source, target)
	}
}

// Removed and made again before the run of the first is at its end.
func TestJobRemovedAndMadeAgainIsAnother(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 40)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	var runs []uint64
	for i := range 5 {
		job := p.Submit(source, target, `,"continuous":true`)
		j := p.AwaitJob(job.Id, "runs", func(j *millracev1.Job) bool { return j.Active })
		runs = append(runs, j.Run)
		if i > 0 && j.Run <= runs[i-1] {
			t.Fatalf("runs %v: messages of an old run would count for a new one", runs)
		}
		p.Cancel(job.Id)
	}
	job := p.Submit(source, target, `,"continuous":true`)
	feed := p.AwaitJob(job.Id, "runs", func(j *millracev1.Job) bool { return j.Active }).Feed
	source.Fill(t, 40, 1)
	p.Await("the last one runs", func() bool { return len(target.Leaves(t)) == 41 })
	databasetest.SameLeaves(t, source, target)
	p.Cancel(job.Id)
	p.Await("nothing is left of it", func() bool {
		_, _, err := p.Feeds().Read(t.Context(), feed)
		return errors.Is(err, directory.ErrUnknown) && len(p.Messages(p.Broker().Streams().Bodies, ">")) == 0
	})
}

func TestRunOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 60)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(replicator.Name)})
	p.Run(pipelinetest.Stages()[0])
	owner := p.Run(replicator.Name)
	job := p.Submit(source, target, small)
	run := p.AwaitJob(job.Id, "runs in a feed", func(j *millracev1.Job) bool {
		_, _, err := p.Feeds().Read(t.Context(), j.Feed)
		return j.Active && err == nil
	}).Run
	owner.Kill()
	p.Run(replicator.Name)
	done := p.Finish(job.Id)
	databasetest.SameLeaves(t, source, target)
	if done.Run != run {
		t.Errorf("run %d took the place of run %d", done.Run, run)
	}
	if done.Totals.DocsRead != 60 || done.Totals.DocsWritten != 60 {
		t.Errorf("counted %v", done.Totals)
	}
}
