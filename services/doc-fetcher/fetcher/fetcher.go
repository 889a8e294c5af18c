// Package fetcher is the stage that reads missing revisions from a source and
// publishes their bodies once, and to each job a small message that refers to
// them. It speaks to sources only (invariant 3).
package fetcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nuid"
	"go.opentelemetry.io/otel/trace"

	"millrace/pkg/broker"
	"millrace/pkg/content"
	"millrace/pkg/directory"
	"millrace/pkg/endpoint"
	"millrace/pkg/filter"
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
	store      *content.Store
	feeds      *directory.Feeds
	functions  *filter.Functions
	stock      *stock
}

// Options are what a service is told. The zero value of a field means its default.
type Options struct {
	// RetryDelay precedes asking again for revisions that the source does not find. Default
	// [DefaultRetryDelay].
	RetryDelay time.Duration
	// AttachmentsCapacity is how many bytes the contents of large attachments may have together. Default
	// that of package content.
	AttachmentsCapacity int64
	// IndexMemory is how much memory the index of what stands in BODIES may take. Default
	// [bodies.DefaultMemory].
	IndexMemory int64
	// Functions runs filter functions. Required.
	Functions *filter.Functions
}

// New registers the stage's handlers; the stage's Run starts them.
func New(s *stage.Stage, jobs *directory.Jobs, feeds *directory.Feeds, pool *endpoint.Pool, o Options) (*Service, error) {
	svc := &Service{
		stage: s, jobs: jobs, feeds: feeds, pool: pool, retryDelay: cmp.Or(o.RetryDelay, DefaultRetryDelay),
		lacking: newLacking(time.Now), unmixed: newLacking(time.Now),
		store: content.New(s.Broker(), s.Publisher(), content.Options{Capacity: o.AttachmentsCapacity}),
		stock: newStock(s.Broker(), o.IndexMemory), functions: o.Functions,
	}
	in := stage.Input{
		Stream: s.Broker().Streams().Missing, Filter: s.Broker().Subjects().Missing(s.Site(), broker.Any),
		Durable: Name + "-" + s.Site(), InFlight: 32, Crowd: 256, Workers: jobs.Workers,
	}
	// Those wait for room, and nothing else shall wait for a place to work behind them.
	large := stage.Input{
		Stream: s.Broker().Streams().Missing, Filter: s.Broker().Subjects().Large(s.Site(), broker.Any),
		Durable: Name + "-large-" + s.Site(), InFlight: 8, Crowd: 64, Workers: jobs.Workers,
	}
	return svc, errors.Join(stage.Consume(s, in, svc.handle), stage.Consume(s, large, svc.handle))
}

// handle fetches one batch, or one part of a batch again or by itself.
func (svc *Service) handle(ctx context.Context, b *millracev1.MissingBatch) error {
	if b.Position.GetReplay() != "" {
		return svc.replay(ctx, b)
	}
	job, err := svc.jobs.Active(ctx, b.Position)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	p, err := svc.fetch(ctx, job, b, &publishing{svc: svc, job: job, feed: b.Position.Feed, again: b.Part != nil && !b.Large})
	if p != nil {
		defer p.close()
	}
	defer cancel()
	if errors.Is(err, content.ErrNoRoom) {
		return err // it comes again, and others meanwhile
	}
	if err != nil {
		return svc.stage.Fail(ctx, b.Position, err)
	}
	return p.finish(ctx)
}

// fetch fetches what a batch asks for; the last part of it is still to be published. The packer is
// to be closed, once it has ended or ctx has.
func (svc *Service) fetch(ctx context.Context, job *millracev1.Job, b *millracev1.MissingBatch, out outlet) (*packer, error) {
	db, err := svc.pool.DB(ctx, job.Source)
	if err != nil {
		return nil, err
	}
	choice, err := svc.choice(ctx, job, db)
	if err != nil {
		return nil, err
	}
	p := newPacker(out, b, nuid.Next())
	f := &fetch{
		db: db, packer: p, retryDelay: svc.retryDelay, full: b.FullAttachments, known: b.Large,
		singly:       (job.GetTuning() != nil && !job.Tuning.UseBulkGet) || svc.lacking.has(job.Source),
		lacksBulkGet: func() { svc.lacking.add(job.Source) },
		unmixed:      svc.unmixed.has(job.Source),
		choice:       choice, sharing: svc.sharing(ctx, b.Position),
		lacksMixed: func() { svc.unmixed.add(job.Source) },
		contents:   &storing{svc: svc, job: job, batch: b},
		order: func(ctx context.Context, w want, part *millracev1.Part) error {
			return svc.order(ctx, job, b, w, part)
		},
	}
	if err := f.run(ctx, b); err != nil {
		return p, fmt.Errorf("read documents: %w", err)
	}
	trace.SpanFromContext(ctx).SetAttributes(telemetry.Docs(len(p.seen)))
	return p, nil
}

// order has a document fetched that is large, as a part of its own.
func (svc *Service) order(ctx context.Context, job *millracev1.Job, b *millracev1.MissingBatch, w want, part *millracev1.Part) error {
	out := &millracev1.MissingBatch{
		Position: b.Position, Part: part, FullAttachments: b.FullAttachments, Large: true,
		Docs: []*millracev1.MissingDoc{{Id: w.id, Revs: []string{w.rev}, PossibleAncestors: w.ancestors}},
	}
	return svc.stage.Publish(ctx, svc.stage.Broker().Subjects().Large(job.SourceSite, job.Id), stage.PartID(b.Position, part)+".large", out)
}

// publishing is the outlet of a batch.
type publishing struct {
	svc *Service
	job *millracev1.Job
	// feed is whose the batch is.
	feed string
	// again says that it is a part that is fetched once more.
	again bool
	// replayed are the rejected revisions of a replay; nil in a run.
	replayed []*millracev1.MissingDoc
}

func (o *publishing) body(ctx context.Context, id string, payload []byte) (future, error) {
	feed := o.feed
	if o.replayed != nil {
		feed = broker.ReplayToken(o.job.Id)
	}
	subject := o.svc.stage.Broker().Subjects().Bodies(feed)
	return o.svc.stage.Publisher().PublishAsync(ctx, subject, payload, broker.MsgID(id))
}

func (o *publishing) part(ctx context.Context, p *millracev1.WriteBatch) error {
	subjects := o.svc.stage.Broker().Subjects()
	subject := subjects.Write(o.job.TargetSite, o.job.Id)
	switch {
	case o.again:
		subject = subjects.WriteAgain(o.job.TargetSite, o.job.Id)
	case o.replayed != nil:
		subject, p.Replayed = subjects.ReplayedWrite(o.job.TargetSite, o.job.Id), o.replayed
	}
	// A batch that is delivered twice is fetched twice, under another attempt.
	return o.svc.stage.Publish(ctx, subject, stage.PartID(p.Position, p.Part)+"."+p.BodyPrefix, p)
}
