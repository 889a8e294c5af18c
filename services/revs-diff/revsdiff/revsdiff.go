// Package revsdiff is the stage that asks a target which revisions of a batch
// it lacks. It speaks to targets only (invariant 3).
package revsdiff

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"

	"millrace/pkg/broker"
	"millrace/pkg/couch"
	"millrace/pkg/directory"
	"millrace/pkg/endpoint"
	"millrace/pkg/stage"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

// Name of the stage, in events, traces and logs.
const Name = "revs-diff"

// Service asks targets what they lack. Any number of instances may run.
type Service struct {
	stage *stage.Stage
	jobs  *directory.Jobs
	pool  *endpoint.Pool
	runs  *directory.PerRun[*learned]
}

// learned is what is known of a run.
type learned struct {
	skip   skip
	passed passed
}

// New registers the stage's handler; the stage's Run starts it.
func New(s *stage.Stage, jobs *directory.Jobs, pool *endpoint.Pool) (*Service, error) {
	svc := &Service{stage: s, jobs: jobs, pool: pool}
	svc.runs = directory.NewPerRun(func() *learned { return &learned{} })
	subjects := s.Broker().Subjects()
	in := stage.Input{
		Stream: s.Broker().Streams().Selected, Filter: subjects.Selected(s.Site(), broker.Any),
		Durable: Name + "-" + s.Site(), InFlight: 32, Crowd: 256, Workers: jobs.Workers,
	}
	return svc, stage.Consume(s, in, svc.handle)
}

// handle asks about one batch. What the target lacks goes to the doc-fetcher; a
// batch of which it lacks nothing is done.
func (svc *Service) handle(ctx context.Context, b *millracev1.SelectedBatch) error {
	job, err := svc.jobs.Active(ctx, b.Position)
	if err != nil {
		return err
	}
	run := svc.runs.Of(b.Position)
	if run.passed.has(b.Position) {
		return nil
	}
	missing, counters, err := svc.missing(ctx, job, b, &run.skip)
	if err != nil {
		return svc.stage.Fail(ctx, b.Position, fmt.Errorf("compare with target: %w", err))
	}
	trace.SpanFromContext(ctx).SetAttributes(telemetry.Rows(len(b.Rows)), telemetry.Docs(len(missing)))
	subjects := svc.stage.Broker().Subjects()
	id := stage.BatchID(b.Position)
	if len(missing) == 0 {
		if run.passed.has(b.Position) { // while the target was asked
			return nil
		}
		done := &millracev1.Done{Position: b.Position, Counters: counters}
		return svc.stage.Publish(ctx, subjects.Done(job.Id), id, done)
	}
	out := &millracev1.MissingBatch{Position: b.Position, Docs: missing, Counters: counters, Bodies: handed(b.Bodies, missing)}
	run.passed.add(b.Position)
	err = svc.stage.Publish(ctx, subjects.Missing(job.SourceSite, job.Id), id, out)
	if err != nil { // this message comes again
		run.passed.remove(b.Position)
	}
	return err
}

// handed keeps, of what the selector has put into BODIES, what the target lacks.
func handed(bodies []*millracev1.BodyRef, missing []*millracev1.MissingDoc) (kept []*millracev1.BodyRef) {
	if len(bodies) == 0 {
		return nil
	}
	type revision struct{ id, rev string }
	lacks := map[revision]bool{}
	for _, d := range missing {
		for _, rev := range d.Revs {
			lacks[revision{d.Id, rev}] = true
		}
	}
	for _, ref := range bodies {
		out := &millracev1.BodyRef{Sequence: ref.Sequence, Number: ref.Number, Prefix: ref.Prefix}
		for _, d := range ref.Docs {
			if lacks[revision{d.Id, d.Rev}] {
				out.Docs = append(out.Docs, d)
			}
		}
		if len(out.Docs) > 0 {
			kept = append(kept, out)
		}
	}
	return kept
}

// missing returns what the target lacks, or all that was selected while asking
// is not worth it.
func (svc *Service) missing(ctx context.Context, job *millracev1.Job, b *millracev1.SelectedBatch, skip *skip) ([]*millracev1.MissingDoc, *millracev1.Counters, error) {
	revs := 0
	for _, r := range b.Rows {
		revs += len(r.Revs)
	}
	counters := &millracev1.Counters{MissingChecked: uint64(revs)}
	if now := time.Now(); !skip.ask(now) {
		counters.MissingFound = uint64(revs)
		return everything(b.Rows), counters, nil
	}
	db, err := svc.pool.DB(ctx, job.Target)
	if err != nil {
		return nil, nil, err
	}
	answer, err := db.RevsDiff(ctx, question(b.Rows))
	if refusesToSay(err) {
		counters.MissingFound = uint64(revs)
		return everything(b.Rows), counters, nil
	}
	if err != nil {
		return nil, nil, err
	}
	docs, orphans := make([]*millracev1.MissingDoc, 0, len(answer)), 0
	for _, m := range answer {
		docs = append(docs, &millracev1.MissingDoc{Id: m.ID, Revs: m.Revs, PossibleAncestors: m.PossibleAncestors})
		counters.MissingFound += uint64(len(m.Revs))
		if len(m.PossibleAncestors) == 0 {
			orphans += len(m.Revs)
		}
	}
	skip.learn(time.Now(), revs, orphans)
	return docs, counters, nil
}

// refusesToSay reports whether the target refused the question as a whole, for one of the
// documents in it or for its size: a partitioned database is not asked about ids without a
// partition. Which document it is shows when they are written: the bulk-writer takes refused requests
// apart, and rejects that one alone.
func refusesToSay(err error) bool {
	var answer *couch.HTTPError
	return errors.As(err, &answer) &&
		(answer.Status == http.StatusBadRequest || answer.Status == http.StatusRequestEntityTooLarge)
}

func question(rows []*millracev1.Row) []couch.IDRevs {
	q := make([]couch.IDRevs, len(rows))
	for i, r := range rows {
		q[i] = couch.IDRevs{ID: r.Id, Revs: r.Revs}
	}
	return q
}

func everything(rows []*millracev1.Row) []*millracev1.MissingDoc {
	docs := make([]*millracev1.MissingDoc, len(rows))
	for i, r := range rows {
		docs[i] = &millracev1.MissingDoc{Id: r.Id, Revs: r.Revs}
	}
	return docs
}
