package fetcher

import (
	"context"
	"errors"

	"millrace/pkg/content"
	"millrace/pkg/failures"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// sayRefused says of rejected revisions that they have become others, which the job's filter does not
// want: their records stay, for whoever replays to decide.
func (f *fetch) sayRefused(docs []*millracev1.MissingDoc) {
	for _, d := range docs {
		other := f.choice.inPlaceOf(d.Id)
		if other == "" || f.packer.hasOf(d.Id) {
			continue
		}
		for _, rev := range d.Revs {
			f.packer.reject(&millracev1.Rejection{
				Id: d.Id, Rev: rev, Error: failures.Filtered, Attempts: 1,
				Reason: "the source has " + other + " in its place, which the filter of the job does not want",
			})
		}
	}
}

// replay fetches rejected revisions anew. What goes wrong is said to whoever replays, and is no
// reason to try again for ever: the records are as they were, and can be replayed again.
func (svc *Service) replay(ctx context.Context, b *millracev1.MissingBatch) error {
	job, err := svc.jobs.ForReplay(ctx, b.Position.Job)
	if err == nil {
		// One part, so that there is one answer: it refers to the bodies, and is small.
		b.Part = &millracev1.Part{Attempt: b.Position.Replay, Number: 1, Last: true}
		var p *packer
		if p, err = svc.fetch(ctx, job, b, &publishing{svc: svc, job: job, replayed: b.Docs}); err == nil {
			return p.finish(ctx)
		}
	}
	if ctx.Err() != nil || errors.Is(err, content.ErrNoRoom) {
		return err
	}
	subject := svc.stage.Broker().Subjects().Replayed(b.Position.Job, b.Position.Replay)
	return svc.stage.Publish(ctx, subject, stage.BatchID(b.Position), failures.Failed(b.Position, b.Docs, err))
}
