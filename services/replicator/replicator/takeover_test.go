package replicator_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/directory"
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
