package replicator

import (
	"context"
	"errors"

	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

// atOnce is how many of the jobs of a submission are written to the broker at once.
const atOnce = 32

// submit makes jobs of replications that have the source in common, and begins them when all are
// there.
func (r *Registry) submit(ctx context.Context, specs []replication.Job) ([]*millracev1.Job, error) {
	jobs, err := r.describeAll(ctx, specs)
	if err != nil {
		return nil, err
	}
	together := broker.Token(nuid.Next())
	written := make([]uint64, len(jobs))
	err = each(ctx, len(jobs), func(ctx context.Context, i int) (err error) {
		if jobs[i].Target, err = r.store(ctx, jobs[i].TargetSite, specs[i].Target, specs[i].Spec); err != nil {
			return err
		}
		jobs[i].Together, jobs[i].Held = together, len(jobs) > 1
		jobs[i], written[i], err = r.write(ctx, jobs[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	return jobs, each(ctx, len(jobs), func(ctx context.Context, i int) error {
		if !jobs[i].Held {
			return nil
		}
		jobs[i].Held = false
		_, err := r.jobs.Write(ctx, jobs[i], written[i])
		if errors.Is(err, directory.ErrChanged) {
			return nil // somebody removed it, or submitted it once more
		}
		return err
	})
}

// each does something with each of n, many at once.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// describeAll makes jobs of replications, without their targets.
func (r *Registry) describeAll(ctx context.Context, specs []replication.Job) ([]*millracev1.Job, error) {
	source, err := r.store(ctx, siteOf(specs[0].Source), specs[0].Source, specs[0].Spec)
	if err != nil {
		return nil, err
	}
	jobs := make([]*millracev1.Job, len(specs))
	codes, bases := map[string]string{}, map[string]int{}
	for i, spec := range specs {
		code, known := codes[spec.Filter]
		if !known {
			if code, err = r.filterCode(ctx, spec, source); err != nil {
				return nil, err
			}
			codes[spec.Filter] = code
		}
		if jobs[i], err = r.describe(spec, code); err != nil {
			return nil, err
		}
		jobs[i].Source = source
		if first, twice := bases[baseOf(jobs[i])]; twice {
			return nil, replication.SameTarget(first, i)
		}
		bases[baseOf(jobs[i])] = i
	}
	return jobs, nil
}

// write stores a job unless the same is under way, and returns the one that is there then, with its
// revision.
func (r *Registry) write(ctx context.Context, job *millracev1.Job) (*millracev1.Job, uint64, error) {
	for {
		there, revision, err := r.jobs.Read(ctx, job.Id)
		switch {
		case errors.Is(err, directory.ErrUnknown):
		case err != nil:
			return nil, 0, err
		case goesOn(there, job):
			return there, revision, nil
		default:
			job.Run, job.Active, job.Feed = there.Run, there.Active, there.Feed
			job.StartTime = max(job.StartTime, there.StartTime+1) // whatever the clock says
		}
		revision, err = r.jobs.Write(ctx, job, revision)
		if errors.Is(err, directory.ErrChanged) {
			continue
		}
		return job, revision, err
	}
}

// goesOn reports that a job that is there does what a new one would.
func goesOn(there, job *millracev1.Job) bool {
	state := replication.State(there.State)
	paused := state == replication.Paused
	return !state.Terminal() && !there.Held && paused == (job.State == string(replication.Paused)) &&
		proto.Equal(settled(there), settled(job))
}
