package replicator_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/directory"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/bulk-writer/writer"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/replicator/replicator"
)

// An owner that was stopped while it ended the run, and wakes when another has gone on
// with it, would take the feed from under the new owner.
func TestOwnerOfBeforeCannotEndTheRunThatAnotherGoesOnWith(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 20)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(replicator.Name)})
	owner := p.Run(replicator.Name)
	job := p.Submit(source, target, `,"continuous":true`)
	p.Await("everything is replicated", func() bool { return len(target.Leaves(t)) == 20 })
	held, revision, err := p.Jobs().Read(t.Context(), job.Id)
	if err != nil {
		t.Fatal(err)
	}
	owner.Kill()
	p.Run(replicator.Name)
	p.Await("another owner", func() bool {
		_, now, err := p.Jobs().Read(t.Context(), job.Id)
		return err == nil && now > revision
	})
	ended := proto.CloneOf(held)
	ended.Active = false
	if _, err := p.Jobs().Write(t.Context(), ended, revision); !errors.Is(err, directory.ErrChanged) {
		t.Fatalf("the owner of before ended the run: %v", err)
	}
	source.Fill(t, 20, 5)
	p.Await("the new owner's run goes on", func() bool { return len(target.Leaves(t)) == 25 })
	databasetest.SameLeaves(t, source, target)
}

// Two brokers stand for two lives of one that has lost its disk: revisions, and so run
// numbers, begin anew. What a stage has in hand of the old run must not count for the new one.
func TestWhatWasInHandWhenTheBrokersDiskWasLostCountsForNoRun(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 20)
	begin := func() (*pipelinetest.Pipeline, *millracev1.Job) {
		// Nothing is written, so that the run has everything to wait for.
		p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name)})
		job := p.Submit(source, target, `,"worker_batch_size":20`)
		p.AwaitMessages(p.Broker().Streams().Write, ">", 1)
		return p, p.Job(job.Id)
	}
	old, before := begin()
	oldBatch := &millracev1.WriteBatch{}
	old.Decode(old.AwaitMessages(old.Broker().Streams().Write, ">", 1)[0], oldBatch)
	p, after := begin()
	if before.Id != after.Id || before.Run != after.Run {
		t.Fatalf("run %d and then run %d: the test says nothing", before.Run, after.Run)
	}
	done := &millracev1.Done{Position: oldBatch.Position, Part: oldBatch.Part, Counters: oldBatch.Counters}
	p.Send(p.Broker().Subjects().Done(after.Id), done)
	p.Run(writer.Name)
	p.Finish(after.Id)
	databasetest.SameLeaves(t, source, target)
	if before.Feed == after.Feed {
		t.Error("what was done in the broker's life before counted for this one")
	}
}
