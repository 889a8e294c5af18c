package fetcher

import (
	"context"
	"errors"
	"time"

	"millrace/pkg/content"
	"millrace/pkg/directory"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// roomPatience is how long a document waits for room for its contents before it is handed
// back: others may need none, or have some already.
const roomPatience = 10 * time.Second

// storing keeps the contents of one part. Whoever writes the part gives their room back.
type storing struct {
	svc   *Service
	job   *millracev1.Job
	batch *millracev1.MissingBatch
}

func (o *storing) claim() content.Claim {
	p := o.batch.Position
	c := content.Claim{Part: stage.PartID(p, o.batch.Part), Job: p.GetJob(), Run: p.GetRun()}
	if p.GetReplay() != "" {
		c.Run = 0
	}
	return c
}

// Scope implements contents. The endpoint's id has the user in it that the source is read as,
// and not the password.
func (o *storing) Scope() string { return o.job.Source.GetId() }

func (o *storing) Reserve(ctx context.Context, wanted []content.Wanted) error {
	return o.svc.store.Reserve(ctx, o.claim(), wanted, roomPatience, o.svc.underWay)
}

func (o *storing) Ensure(ctx context.Context, from content.Source) ([]byte, error) {
	if o.batch.Position.GetReplay() == "" {
		from.Check = func(ctx context.Context) error {
			_, err := o.svc.jobs.Active(ctx, o.batch.Position)
			return err
		}
	}
	return o.svc.store.Ensure(ctx, from)
}

func (o *storing) Release(ctx context.Context) error { return o.svc.store.Release(ctx, o.claim().Part) }

// underWay reports whether a run is, as far as can be told. What is known by heart may be old.
func (svc *Service) underWay(ctx context.Context, id string, run uint64) bool {
	is := func(job *millracev1.Job) bool { return job.GetActive() && job.GetRun() <= run }
	if is(svc.jobs.Known(id)) {
		return true
	}
	job, err := svc.jobs.Newest(ctx, id)
	if errors.Is(err, directory.ErrUnknown) {
		return false
	}
	return err != nil || is(job)
}
