package replicator_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/bulk-writer/writer"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/replicator/replicator"
)

func local(method string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, "/_local/") }
}

// covered are the documents that a checkpoint's sequence covers.
func covered(t *testing.T, source *databasetest.Database, seq []byte) []string {
	t.Helper()
	since, err := couch.ParseSeq(seq)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := source.Changes(t.Context(), couch.ChangesOptions{Since: since})
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Close() //nolint:errcheck // nothing is written
	all := source.Leaves(t)
	for {
		row, err := changes.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		delete(all, row.ID)
	}
	var ids []string
	for id := range all {
		ids = append(ids, id)
	}
	return ids
}

// checkCheckpoint compares what the checkpoints of both sides say with what the target has.
func checkCheckpoint(t *testing.T, job *millracev1.Job, source, target *databasetest.Database) {
	t.Helper()
	for _, db := range []*databasetest.Database{source, target} {
		log := db.Checkpoint(t, job)
		if log == nil {
			continue
		}
		there := target.Leaves(t) // after the checkpoint was read: it may have more, never less
		for _, id := range covered(t, source, log.SourceLastSeq) {
			if _, ok := there[id]; !ok {
				t.Fatalf("the checkpoint %s at %s covers %s, which the target does not have", log.SourceLastSeq, db, id)
			}
		}
	}
}

// Whatever fails and whoever is killed, at any moment what a checkpoint says is true (invariant 1).
func TestCheckpointNeverCoversWhatTheTargetDoesNotHave(t *testing.T) {
	t.Parallel()
	const docs = 400
	source, target := databases(t)
	source.Fill(t, 0, docs)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 6 {
		after := millpond.After(random.IntN(30), millpond.Matching("", "/_bulk_docs"))
		fault := millpond.Fault{Match: after, Times: 1}
		switch random.IntN(3) {
		case 0:
			fault.DropBefore = true
		case 1:
			fault.DropAfter = true
		default:
			fault.Status, fault.Body = 503, `{"error":"x"}`
		}
		target.Server.Inject(fault)
	}
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(replicator.Name, writer.Name)})
	owner, worker := p.Run(replicator.Name), p.Run(writer.Name)
	job := p.Submit(source, target, `,"worker_batch_size":7`)
	kills := []uint64{docs / 4, docs / 2}
	for {
		checkCheckpoint(t, job, source, target)
		written := uint64(len(target.Leaves(t)))
		if len(kills) > 0 && written >= kills[0] {
			kills = kills[1:]
			owner.Kill()
			worker.Kill()
			checkCheckpoint(t, job, source, target)
			owner, worker = p.Run(replicator.Name), p.Run(writer.Name)
		}
		if p.Job(job.Id).State == string(replication.Completed) {
			break
		}
	}
	checkCheckpoint(t, job, source, target)
	databasetest.SameLeaves(t, source, target)
	if log := source.Checkpoint(t, job); log == nil || len(covered(t, source, log.SourceLastSeq)) != docs {
		t.Errorf("the last checkpoint %v does not cover everything", log)
	}
}

func TestSecondRunBeginsAtTheCheckpointAndWritesNoneWithoutAChange(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 30)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	p.Finish(p.Submit(source, target, "").Id)
	before := [2]millpond.Counts{source.Server.Requests(), target.Server.Requests()}
	job := p.Submit(source, target, "")
	p.AwaitJob(job.Id, "has run again", func(j *millracev1.Job) bool {
		return j.State == string(replication.Completed) && j.Run > job.Run
	})
	for i, db := range []*databasetest.Database{source, target} {
		now := db.Server.Requests()
		if got, want := now.Of("PUT", "_local"), before[i].Of("PUT", "_local"); got != want {
			t.Errorf("%d checkpoints were written to %s without a change", got-want, db)
		}
	}
	if got := source.Server.Requests().Of("POST", "_bulk_get") - before[0].Of("POST", "_bulk_get"); got != 0 {
		t.Errorf("documents were read again in %d requests", got)
	}
}

func TestWithoutCheckpointsNoneIsWritten(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 30)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, `,"use_checkpoints":false`)
	p.Finish(job.Id)
	databasetest.SameLeaves(t, source, target)
	for _, db := range []*databasetest.Database{source, target} {
		if n := db.Server.Requests().Of("PUT", "_local"); n != 0 {
			t.Errorf("%d checkpoints at %s", n, db)
		}
	}
}

func TestFilteredRunCheckpointsPastWhatNobodyWanted(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 60)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, `,"doc_ids":["doc-000003","nobody"]`)
	p.Finish(job.Id)
	if got := target.Leaves(t); len(got) != 1 || got["doc-000003"] == nil {
		t.Errorf("the target has %v", got)
	}
	log := source.Checkpoint(t, job)
	if log == nil || len(covered(t, source, log.SourceLastSeq)) != 60 {
		t.Errorf("the checkpoint %v does not reach the end", log)
	}
}

func TestReadOnlySourceIsNotedAndTheNextRunResumes(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 30)
	source.Server.Inject(millpond.Fault{Match: local(http.MethodPut), Status: 403, Body: `{"error":"forbidden","reason":"read only"}`})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, "")
	done := p.Finish(job.Id)
	if !slices.ContainsFunc(done.Notes, func(n string) bool { return strings.Contains(n, "refuses checkpoints") }) {
		t.Errorf("notes %q", done.Notes)
	}
	if source.Checkpoint(t, job) != nil || target.Checkpoint(t, job) == nil {
		t.Error("the checkpoint has to be at the target alone")
	}
	read := source.Server.Requests().Of("POST", "_bulk_get")
	source.Fill(t, 30, 5)
	again := p.Submit(source, target, "")
	done = p.AwaitJob(job.Id, "has run again", func(j *millracev1.Job) bool {
		return j.State == string(replication.Completed) && j.Run > again.Run
	})
	databasetest.SameLeaves(t, source, target)
	if got := source.Server.Requests().Of("POST", "_bulk_get") - read; got != 1 {
		t.Errorf("%d requests for 5 new documents: the run did not resume", got)
	}
	if done.Totals.DocsWritten != 35 {
		t.Errorf("counted %v over both runs", done.Totals)
	}
	if slices.ContainsFunc(done.Notes, func(n string) bool { return strings.Contains(n, "created again") }) {
		t.Errorf("notes %q", done.Notes)
	}
}

// The target's document may say nothing of the source: a program that knows no such member
// wrote it last.
func TestReadOnlySourceIsResumedFromTheBrokersCopy(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 30)
	source.Server.Inject(millpond.Fault{Match: local(http.MethodPut), Status: 403, Body: `{"error":"forbidden","reason":"read only"}`})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, "")
	p.Finish(job.Id)
	log := target.Checkpoint(t, job)
	if log == nil || log.SourceInstance == "" {
		t.Fatalf("the target has %+v", log)
	}
	log.SourceInstance = ""
	base, _, _ := strings.Cut(job.ReplicationId, "+")
	if _, err := target.PutLocal(t.Context(), base, log); err != nil {
		t.Fatal(err)
	}
	source.Fill(t, 30, 5)
	again := p.Submit(source, target, "")
	done := p.AwaitJob(job.Id, "has run again", func(j *millracev1.Job) bool {
		return j.State == string(replication.Completed) && j.Run > again.Run
	})
	if c := done.Totals; c.MissingChecked != 35 || c.DocsWritten != 35 {
		t.Errorf("counted %v: the run did not resume", c)
	}
}

// With the broker's disk its copy of the source's checkpoint is gone: the target's document says
// of which source it is, and stands for it.
func TestReadOnlySourceIsResumedFromTheTargetWhenTheBrokerHasForgotten(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 30)
	source.Server.Inject(millpond.Fault{Match: local(http.MethodPut), Status: 403, Body: `{"error":"forbidden","reason":"read only"}`})
	run := func() *millracev1.Job {
		p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()}) // on a disk of its own
		return p.Finish(p.Submit(source, target, "").Id)
	}
	run()
	source.Fill(t, 30, 5)
	if c := run().Totals; c.MissingChecked != 35 || c.DocsWritten != 35 {
		t.Errorf("counted %v: the run did not resume", c)
	}
	databasetest.SameLeaves(t, source, target)
	source.Recreate(t)
	source.Fill(t, 100, 20)
	if c := run().Totals; c.MissingChecked != 20 || c.DocsWritten != 20 {
		t.Errorf("counted %v: the new source was not read from its beginning", c)
	}
}

// The broker's copy of a checkpoint is about the database of that time.
func TestReadOnlySourceThatWasReplacedIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	// Bare integers: a seq of the old database is one of the new database, too.
	source, target := databasetest.New(t, millpond.Options{IntegerSeqs: true}), databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 30)
	source.Server.Inject(millpond.Fault{Match: local(http.MethodPut), Status: 403, Body: `{"error":"forbidden","reason":"read only"}`})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, "")
	p.Finish(job.Id)
	source.Recreate(t)
	source.Fill(t, 100, 30)
	again := p.Submit(source, target, "")
	p.AwaitJob(job.Id, "has run again", func(j *millracev1.Job) bool {
		return j.State == string(replication.Completed) && j.Run > again.Run
	})
	there := target.Leaves(t)
	for id := range source.Leaves(t) {
		if there[id] == nil {
			t.Fatalf("the target lacks %s of the new source", id)
		}
	}
}

func TestReplacedTargetIsNoticedAndFilledAgain(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 30)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, `,"continuous":true`)
	p.Await("the first checkpoint", func() bool {
		log := target.Checkpoint(t, job)
		return log != nil && len(covered(t, source, log.SourceLastSeq)) == 30
	})
	target.Recreate(t)
	source.Fill(t, 30, 1) // the next checkpoint is due
	p.Await("the target is filled again", func() bool { return len(target.Leaves(t)) == 31 })
	databasetest.SameLeaves(t, source, target)
}

func TestContinuousAndOneShotShareACheckpointAndTheRightToWriteIt(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 10)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	continuous := p.Submit(source, target, `,"continuous":true`)
	p.Await("the first checkpoint", func() bool {
		log := target.Checkpoint(t, continuous)
		return log != nil && len(covered(t, source, log.SourceLastSeq)) == 10
	})
	once := p.Submit(source, target, "")
	if once.Id == continuous.Id || strings.TrimSuffix(continuous.ReplicationId, "+continuous") != once.ReplicationId {
		t.Fatalf("replication ids %s and %s", continuous.ReplicationId, once.ReplicationId)
	}
	session := target.Checkpoint(t, continuous).SessionID
	source.Fill(t, 10, 10)
	p.Await("the continuous job goes on", func() bool {
		return len(covered(t, source, target.Checkpoint(t, continuous).SourceLastSeq)) == 20
	})
	if p.Job(once.Id).Active || target.Checkpoint(t, once).SessionID != session {
		t.Error("two runs at once write one checkpoint")
	}
	read := source.Server.Requests().Of("POST", "_bulk_get")
	p.Cancel(continuous.Id)
	p.Finish(once.Id)
	if got := source.Server.Requests().Of("POST", "_bulk_get"); got != read {
		t.Errorf("the one-shot job read %d times what the continuous one had checkpointed", got-read)
	}
}

func TestCheckpointThatMetAConflictIsWrittenLater(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 30)
	target.Server.Inject(millpond.Fault{
		Match: millpond.After(1, local(http.MethodPut)), Times: 3, Status: 409,
		Body: `{"error":"conflict","reason":"Document update conflict."}`,
	})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), FailPermanent: true})
	job := p.Submit(source, target, `,"worker_batch_size":5`)
	p.Finish(job.Id)
	a, b := source.Checkpoint(t, job), target.Checkpoint(t, job)
	if a.SessionID != b.SessionID || !bytes.Equal(a.SourceLastSeq, b.SourceLastSeq) {
		t.Errorf("checkpoints %v and %v", a, b)
	}
}
