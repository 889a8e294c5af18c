package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"millrace/pkg/broker"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// Jobs is the directory of jobs.
type Jobs struct {
	table    *table[millracev1.Job, *millracev1.Job]
	progress *table[millracev1.Progress, *millracev1.Progress]
	replays  *table[millracev1.ReplayTotals, *millracev1.ReplayTotals]
}

// OpenJobs returns the directory over the installation's bucket. [Jobs.Watch]
// fills it.
func OpenJobs(ctx context.Context, b *broker.Broker) (*Jobs, error) {
	bucket, err := b.JetStream().KeyValue(ctx, b.Buckets().Jobs)
	if err != nil {
		return nil, fmt.Errorf("open bucket of jobs: %w", err)
	}
	return &Jobs{
		table:    newTable[millracev1.Job](b, bucket, "job."),
		progress: newTable[millracev1.Progress](b, bucket, "progress."),
		replays:  newTable[millracev1.ReplayTotals](b, bucket, "replayed."),
	}, nil
}

// Watch keeps the directory current until ctx ends. changed is called for each
// job and each change of one, with nil for a job that was removed; it may be nil.
func (j *Jobs) Watch(ctx context.Context, changed func(id string, job *millracev1.Job)) error {
	return j.table.watch(ctx, changed)
}

// Active returns the job of a message that belongs to the run that is under way.
// The error is [stage.ErrOver] when the run is over; any other error says that it is
// not known, and the message should be handed back.
func (j *Jobs) Active(ctx context.Context, pos *millracev1.Position) (*millracev1.Job, error) {
	job, _, ok := j.table.cached(pos.GetJob())
	if !ok || job.Run < pos.GetRun() {
		var err error
		job, _, err = j.table.read(ctx, pos.GetJob())
		if errors.Is(err, ErrUnknown) {
			return nil, fmt.Errorf("job %s is no more: %w", pos.GetJob(), stage.ErrOver)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case job.Run < pos.GetRun(): // a replica that is behind
		return nil, fmt.Errorf("job %s: run %d is not known yet, run %d is", job.Id, pos.GetRun(), job.Run)
	case job.Run > pos.GetRun() || !job.Active:
		return nil, fmt.Errorf("job %s, run %d: %w", job.Id, pos.GetRun(), stage.ErrOver)
	}
	return job, nil
}

// Known returns the job as far as it is known; nil when it is not.
func (j *Jobs) Known(id string) *millracev1.Job {
	job, _, _ := j.table.cached(id)
	return job
}

// All iterates over the jobs that are known, in no order.
func (j *Jobs) All() iter.Seq[*millracev1.Job] { return j.table.all() }

// Workers is how many batches of the job a stage should work on at once, its
// worker_processes, as far as it is known; 0 when it is not.
func (j *Jobs) Workers(id string) int { return int(Tuning(j.Known(id)).GetWorkerProcesses()) }

// Newest returns the job as the bucket's leader has it. The error wraps [ErrUnknown]
// when there is none.
func (j *Jobs) Newest(ctx context.Context, id string) (*millracev1.Job, error) {
	job, _, err := j.table.newest(ctx, id)
	return job, err
}

// Read returns the job as it stands in the bucket, and its revision. The error
// wraps [ErrUnknown] when there is none.
func (j *Jobs) Read(ctx context.Context, id string) (*millracev1.Job, uint64, error) {
	return j.table.read(ctx, id)
}

// Write stores the job if the bucket has the given revision of it (0: none). The
// error wraps [ErrChanged] when it has another.
func (j *Jobs) Write(ctx context.Context, job *millracev1.Job, revision uint64) (uint64, error) {
	return j.table.write(ctx, job.Id, job, revision)
}

// Remove deletes the job, its progress and what its replays have done.
func (j *Jobs) Remove(ctx context.Context, id string) error {
	return errors.Join(j.table.remove(ctx, id), j.progress.remove(ctx, id), j.replays.remove(ctx, id))
}

// Forget deletes what is known of the job's progress.
func (j *Jobs) Forget(ctx context.Context, id string) error { return j.progress.remove(ctx, id) }

// Progress returns how far the job's run has got; nil when nothing is known.
func (j *Jobs) Progress(ctx context.Context, id string) (*millracev1.Progress, error) {
	p, _, err := j.progress.read(ctx, id)
	if errors.Is(err, ErrUnknown) {
		return nil, nil
	}
	return p, err
}

// SetProgress stores how far the job's run has got. Only the job's owner does, so
// that the last write counts.
func (j *Jobs) SetProgress(ctx context.Context, id string, p *millracev1.Progress) error {
	return j.progress.put(ctx, id, p)
}
