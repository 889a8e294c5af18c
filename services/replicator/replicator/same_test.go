package replicator_test

import (
	"context"
	"slices"
	"testing"

	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/replicator/replicator"
)

// frozen is a store whose databases are all born in the same second: neither
// instance_start_time nor seqs tell one that is made again from the one before.
type frozen struct{ millpond.Store }

func (f frozen) Open(ctx context.Context, name string) (millpond.Database, error) {
	db, err := f.Store.Open(ctx, name)
	return frozenDatabase{db}, err
}

type frozenDatabase struct{ millpond.Database }

func (f frozenDatabase) Info(ctx context.Context) (millpond.Info, error) {
	info, err := f.Database.Info(ctx)
	info.Instance = "1700000000"
	return info, err
}

// Nothing is written that could be refused: the feed is quiet, and goes on at a seq that
// the new source has not reached.
func TestSourceThatWasReplacedUnderAQuietFeedIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]millpond.Options{
		"later":             {},
		"within the second": {Store: frozen{millpond.NewMemory()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := databasetest.New(t, o), databasetest.New(t, millpond.Options{})
			source.Fill(t, 0, 30)
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
			job := p.Submit(source, target, `,"continuous":true`)
			p.Await("the checkpoint of everything", func() bool {
				log := source.Checkpoint(t, job)
				return log != nil && len(covered(t, source, log.SourceLastSeq)) == 30
			})
			source.Recreate(t)
			source.Fill(t, 100, 10)
			p.Await("the new source's documents at the target", func() bool { return len(target.Leaves(t)) == 40 })
			p.AwaitJob(job.Id, "says so", func(j *millracev1.Job) bool {
				return slices.Contains(j.Notes, "the source database was deleted and created again meanwhile: the replication has started over")
			})
		})
	}
}

// The documents that the run had written went with the target; it has no checkpoint that
// would be refused.
func TestRunIsNotGoneOnWithWhenItsTargetWasReplaced(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]string{
		"with checkpoints":    `,"continuous":true`,
		"without checkpoints": `,"continuous":true,"use_checkpoints":false`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := databases(t)
			source.Fill(t, 0, 30)
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(replicator.Name)})
			owner := p.Run(replicator.Name)
			job := p.Submit(source, target, options)
			p.Await("a position that a new owner goes on from", func() bool {
				progress := p.Progress(job.Id)
				return progress != nil && progress.Rows == 30
			})
			owner.Stop()
			target.Recreate(t)
			p.Run(replicator.Name)
			p.Await("all documents at the new target", func() bool { return len(target.Leaves(t)) == 30 })
			databasetest.SameLeaves(t, source, target)
		})
	}
}

func TestTargetThatWasReplacedUnderARunWithoutCheckpointsIsFilledAnew(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 30)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	p.Submit(source, target, `,"continuous":true,"use_checkpoints":false`)
	p.Await("everything is replicated", func() bool { return len(target.Leaves(t)) == 30 })
	target.Recreate(t)
	source.Fill(t, 30, 5)
	p.Await("all documents at the new target", func() bool { return len(target.Leaves(t)) == 35 })
}
