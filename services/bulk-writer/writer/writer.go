// Package writer is the stage that applies fetched revisions to a target. It
// speaks to targets only (invariant 3).
package writer

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/content"
	"millrace/pkg/couch"
	"millrace/pkg/directory"
	"millrace/pkg/endpoint"
	"millrace/pkg/failures"
	"millrace/pkg/stage"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/bulk-writer/messages"
)

// Name of the stage, in events, traces and logs.
const Name = "bulk-writer"

// Service writes to targets. Any number of instances may run.
type Service struct {
	stage    *stage.Stage
	jobs     *directory.Jobs
	pool     *endpoint.Pool
	dialects dialects
	failures *failures.Store
	// recorded is, of each run, which revisions had been rejected before it began.
	recorded *directory.PerRun[*recorded]
	store    *content.Store
	// messages of BODIES that were read last.
	messages *messages.Cache
}

// New registers the stage's handler; the stage's Run starts it.
func New(s *stage.Stage, jobs *directory.Jobs, pool *endpoint.Pool, read *messages.Cache) (*Service, error) {
	svc := &Service{
		stage: s, jobs: jobs, pool: pool, failures: failures.NewStore(s.Broker(), s.Publisher()),
		store: content.New(s.Broker(), s.Publisher(), content.Options{}), messages: read,
	}
	svc.recorded = directory.NewPerRun(func() *recorded { return &recorded{} })
	in := stage.Input{
		Stream: s.Broker().Streams().Write, Filter: s.Broker().Subjects().Write(s.Site(), broker.Any),
		Durable: Name + "-" + s.Site(), InFlight: 32, Crowd: 256, Workers: jobs.Workers,
	}
	return svc, stage.Consume(s, in, svc.handle)
}

// handle writes one part of a batch. It is done only when every document of the
// part is durable at the target or recorded as rejected (invariant 1).
func (svc *Service) handle(ctx context.Context, b *millracev1.WriteBatch) error {
	if b.Position.GetReplay() != "" {
		return svc.replay(ctx, b)
	}
	job, err := svc.jobs.Active(ctx, b.Position)
	if err != nil {
		return err
	}
	db, err := svc.pool.DB(ctx, job.Target)
	if err != nil {
		return svc.stage.Fail(ctx, b.Position, err)
	}
	a := &apply{db: db}
	err = svc.apply(ctx, a, job.Target, db, b)
	switch {
	case errors.Is(err, errMissingStub):
		return svc.refetch(ctx, job, b, true)
	case errors.Is(err, broker.ErrGone) || errors.Is(err, broker.ErrClaimLost):
		return svc.refetch(ctx, job, b, false)
	case err != nil:
		return svc.stage.Fail(ctx, b.Position, fmt.Errorf("write to target: %w", err))
	}
	trace.SpanFromContext(ctx).SetAttributes(telemetry.Docs(len(a.written)), telemetry.Bytes(int64(a.bytes)))
	return svc.done(ctx, job, b, a)
}

func (svc *Service) apply(ctx context.Context, a *apply, target *millracev1.EndpointRef, db *couch.DB, b *millracev1.WriteBatch) error {
	bodies := &bodyReader{broker: svc.stage.Broker(), cache: svc.messages, prefix: b.BodyPrefix, store: svc.store}
	all := requests{apply: a, enough: share(bodyBytes(b.Bodies))}
	for _, ref := range b.Bodies {
		docs, err := bodies.documents(ctx, ref)
		if err != nil {
			return err
		}
		if err := all.add(ctx, docs); err != nil {
			return err
		}
	}
	if err := all.send(ctx); err != nil {
		return err
	}
	if err := svc.alone(ctx, a, target, db, bodies, b.Multiparts); err != nil {
		return err
	}
	return a.try(ctx)
}

// refetch asks for the part again: its bodies are gone from BODIES, or the target
// lacks what its stubs refer to. What comes of it is the same part.
func (svc *Service) refetch(ctx context.Context, job *millracev1.Job, b *millracev1.WriteBatch, full bool) error {
	docs := make(map[string]*millracev1.MissingDoc)
	out := &millracev1.MissingBatch{
		Position: b.Position, Part: b.Part, FullAttachments: full,
		// What was read counts when it is read again.
		Counters: &millracev1.Counters{
			MissingChecked: b.GetCounters().GetMissingChecked(), MissingFound: b.GetCounters().GetMissingFound(),
		},
	}
	add := func(id, rev string) {
		d := docs[id]
		if d == nil {
			d = &millracev1.MissingDoc{Id: id}
			docs[id], out.Docs = d, append(out.Docs, d)
		}
		d.Revs = append(d.Revs, rev)
	}
	for _, ref := range b.Bodies {
		for _, d := range ref.Docs {
			add(d.Id, d.Rev)
		}
	}
	for _, m := range b.Multiparts {
		for _, d := range m.Doc.Docs {
			add(d.Id, d.Rev)
		}
	}
	for _, r := range b.Rejected {
		add(r.Id, r.Rev)
	}
	again := "gone"
	if full {
		again = "full"
	}
	id := fmt.Sprintf("%s.%s.%d", stage.PartID(b.Position, b.Part), again, stage.Sequence(ctx))
	subject := svc.stage.Broker().Subjects().Again(job.SourceSite, job.Id)
	if hasContents(b) {
		subject = svc.stage.Broker().Subjects().LargeAgain(job.SourceSite, job.Id)
	}
	// First the room is given back: whoever fetches the part again waits for some, and this may
	// wait until he has got it.
	if err := svc.release(ctx, b); err != nil {
		return err
	}
	return svc.stage.Publish(ctx, subject, id, out)
}

// release gives back the room that is kept for contents of the part.
func (svc *Service) release(ctx context.Context, b *millracev1.WriteBatch) error {
	if !hasContents(b) {
		return nil
	}
	return svc.store.Release(ctx, stage.PartID(b.Position, b.Part))
}

// hasContents reports whether room is kept for contents of the part.
func hasContents(b *millracev1.WriteBatch) bool {
	for _, m := range b.Multiparts {
		for _, a := range m.Attachments {
			if a.Content != "" {
				return true
			}
		}
	}
	return false
}

// done records what was rejected and then that the part is done.
func (svc *Service) done(ctx context.Context, job *millracev1.Job, b *millracev1.WriteBatch, a *apply) error {
	rejected := append(unfetched(b), a.rejected...)
	if _, err := svc.record(ctx, job, b.Position, rejected); err != nil {
		return err
	}
	if err := svc.mended(ctx, b.Position, a.written); err != nil {
		return err
	}
	counters := &millracev1.Counters{}
	if b.Counters != nil {
		proto.Merge(counters, b.Counters)
	}
	counters.DocsWritten += uint64(len(a.written))
	counters.BytesWritten += a.bytes
	counters.DocWriteFailures += uint64(len(rejected))
	done := &millracev1.Done{Position: b.Position, Part: b.Part, Counters: counters}
	if err := svc.stage.Publish(ctx, svc.stage.Broker().Subjects().Done(job.Id), stage.PartID(b.Position, b.Part), done); err != nil {
		return err
	}
	return svc.release(ctx, b)
}
