// Package fetcher is the stage that reads missing revisions from a source and
// publishes their bodies once, and to each job a small message that refers to
// them. It speaks to sources only (invariant 3).
package fetcher

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nuid"
	"go.opentelemetry.io/otel/trace"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/endpoint"
	"millrace/pkg/stage"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

// Name of the stage, in events, traces and logs.
const Name = "doc-fetcher"

// DefaultRetryDelay is CouchDB's missing_doc_retry_msec.
const DefaultRetryDelay = 2 * time.Second

// Service fetches from sources. Any number of instances may run.
type Service struct {
	stage      *stage.Stage
	jobs       *directory.Jobs
	pool       *endpoint.Pool
	retryDelay time.Duration
	lacking    *lacking // sources without _bulk_get
	unmixed    *lacking // sources without multipart answers to it
}

// New registers the stage's handler; the stage's Run starts it. Revisions that the
// source does not find are asked for again after retryDelay.
func New(s *stage.Stage, jobs *directory.Jobs, pool *endpoint.Pool, retryDelay time.Duration) (*Service, error) {
	svc := &Service{stage: s, jobs: jobs, pool: pool, retryDelay: retryDelay, lacking: newLacking(time.Now), unmixed: newLacking(time.Now)}
	in := stage.Input{
		Stream: s.Broker().Streams().Missing, Filter: s.Broker().Subjects().Missing(s.Site(), broker.Any),
		Durable: Name + "-" + s.Site(), InFlight: 16, Workers: jobs.Workers,
	}
	return svc, stage.Consume(s, in, svc.handle)
}

// handle fetches one batch, or one part of a batch again.
func (svc *Service) handle(ctx context.Context, b *millracev1.MissingBatch) error {
	if b.Position.GetReplay() != "" {
		return svc.replay(ctx, b)
	}
	job, err := svc.jobs.Active(ctx, b.Position)
	if err != nil {
		return err
	}
	p, err := svc.fetch(ctx, job, b, &publishing{svc: svc, job: job})
	if err != nil {
		return svc.stage.Fail(ctx, b.Position, err)
	}
	return p.finish(ctx)
}

// fetch fetches what a batch asks for; the last part of it is still to be published.
func (svc *Service) fetch(ctx context.Context, job *millracev1.Job, b *millracev1.MissingBatch, out outlet) (*packer, error) {
	db, err := svc.pool.DB(ctx, job.Source)
	if err != nil {
		return nil, err
	}
	p := newPacker(out, b, nuid.Next())
	f := &fetch{
		db: db, packer: p, retryDelay: svc.retryDelay, full: b.FullAttachments,
		singly:       (job.GetTuning() != nil && !job.Tuning.UseBulkGet) || svc.lacking.has(job.Source),
		lacksBulkGet: func() { svc.lacking.add(job.Source) },
		unmixed:      svc.unmixed.has(job.Source),
		lacksMixed:   func() { svc.unmixed.add(job.Source) },
	}
	if err := f.run(ctx, wanted(b)); err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	trace.SpanFromContext(ctx).SetAttributes(telemetry.Docs(len(p.seen)))
	return p, nil
}

// publishing is the outlet of a batch.
type publishing struct {
	svc *Service
	job *millracev1.Job
	// replayed are the rejected revisions of a replay; nil in a run.
	replayed []*millracev1.MissingDoc
}

func (o *publishing) body(ctx context.Context, id string, payload []byte) (future, error) {
	feed := o.job.Feed
	if o.replayed != nil {
		feed = broker.ReplayToken(o.job.Id)
	}
	subject := o.svc.stage.Broker().Subjects().Bodies(feed)
	return o.svc.stage.Publisher().PublishAsync(ctx, subject, payload, broker.MsgID(id))
}

func (o *publishing) part(ctx context.Context, p *millracev1.WriteBatch) error {
	subjects := o.svc.stage.Broker().Subjects()
	subject := subjects.Write(o.job.TargetSite, o.job.Id)
	if o.replayed != nil {
		subject, p.Replayed = subjects.ReplayedWrite(o.job.TargetSite, o.job.Id), o.replayed
	}
	// A batch that is delivered twice is fetched twice, under another attempt.
	return o.svc.stage.Publish(ctx, subject, stage.PartID(p.Position, p.Part)+"."+p.BodyPrefix, p)
}
