package writer

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"millrace/pkg/broker"
	"millrace/pkg/failures"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// replay writes rejected revisions anew and says what came of each. It may be repeated at any
// point: what is written is written once, a record that is gone stays gone, and one batch counts
// once (invariant 2).
func (svc *Service) replay(ctx context.Context, b *millracev1.WriteBatch) error {
	result, err := svc.rewrite(ctx, b)
	switch {
	case err == nil:
	case errors.Is(err, errAskedAgain):
		return nil
	case ctx.Err() != nil:
		return err
	default:
		// Whoever replays is told; nothing is tried again for ever.
		result = failures.Failed(b.Position, b.Replayed, err)
	}
	subject := svc.stage.Broker().Subjects().Replayed(b.Position.Job, b.Position.Replay)
	if err := svc.stage.Publish(ctx, subject, stage.BatchID(b.Position), result); err != nil {
		return err
	}
	return svc.release(ctx, b)
}

// errAskedAgain says that the batch is fetched once more, and nothing is to be said of it yet.
var errAskedAgain = errors.New("asked for again")

// rewrite writes a batch of a replay and settles its records.
func (svc *Service) rewrite(ctx context.Context, b *millracev1.WriteBatch) (*millracev1.Replayed, error) {
	job, err := svc.jobs.ForReplay(ctx, b.Position.Job)
	if err != nil {
		return nil, err
	}
	db, err := svc.pool.DB(ctx, job.Target)
	if err != nil {
		return nil, err
	}
	a := &apply{db: db}
	err = svc.apply(ctx, a, job.Target, db, b)
	if errors.Is(err, broker.ErrGone) || errors.Is(err, broker.ErrClaimLost) {
		out := &millracev1.MissingBatch{Position: b.Position, Docs: b.Replayed, FullAttachments: true}
		id := fmt.Sprintf("%s.gone.%d", stage.BatchID(b.Position), stage.Sequence(ctx))
		subject := svc.stage.Broker().Subjects().ReplayedMissing(job.SourceSite, job.Id)
		if err := svc.release(ctx, b); err != nil {
			return nil, err
		}
		return nil, errors.Join(errAskedAgain, svc.stage.Publish(ctx, subject, id, out))
	}
	if err != nil {
		return nil, fmt.Errorf("write to target: %w", err)
	}
	if err := svc.fromRecords(ctx, a, job.Id, b); err != nil {
		return nil, fmt.Errorf("write to target: %w", err)
	}
	return svc.settle(ctx, job, b, a)
}

// fromRecords writes what the source has no more, or cannot give, from the copies that stand beside
// the records. What remains in b.Rejected has none.
func (svc *Service) fromRecords(ctx context.Context, a *apply, job string, b *millracev1.WriteBatch) error {
	var without []*millracev1.Rejection
	for _, r := range b.Rejected {
		if r.Error == failures.Filtered { // what is written last is what the filter decides on (invariant 8)
			without = append(without, r)
			continue
		}
		doc, err := svc.kept(ctx, job, r.Id, r.Rev)
		if errors.Is(err, failures.ErrNotKept) || errors.Is(err, failures.ErrUnknown) {
			without = append(without, r)
			continue
		}
		if err != nil {
			return err
		}
		ref := &millracev1.DocRef{Id: r.Id, Rev: r.Rev, Length: uint32(len(doc))}
		if err := a.write(ctx, []document{{ref, doc}}); err != nil {
			return err
		}
	}
	b.Rejected = without
	return nil
}

func (svc *Service) kept(ctx context.Context, job, id, rev string) ([]byte, error) {
	r, err := svc.failures.Get(ctx, job, id, rev)
	if err != nil {
		return nil, err
	}
	return svc.failures.Document(ctx, r)
}

// settle makes of what was written and what was not the state of the records.
func (svc *Service) settle(ctx context.Context, job *millracev1.Job, b *millracev1.WriteBatch, a *apply) (*millracev1.Replayed, error) {
	all := newVerdicts(a.written, append(unfetched(b), a.rejected...))
	result := &millracev1.Replayed{Position: b.Position}
	counters := &millracev1.Counters{BytesWritten: a.bytes, DocsRead: uint64(len(a.written) + len(a.rejected))}
	for _, d := range b.Replayed {
		for _, rev := range d.Revs {
			out, refused := all.of(d.Id, rev)
			switch out.Outcome {
			case millracev1.ReplayedDoc_OUTCOME_WRITTEN:
				counters.DocsWritten++
				if err := svc.remove(ctx, job.Id, d.Id, rev); err != nil {
					return nil, err
				}
			case millracev1.ReplayedDoc_OUTCOME_REFUSED, millracev1.ReplayedDoc_OUTCOME_VANISHED:
				records, err := svc.record(ctx, job, b.Position, []rejected{refused})
				if err != nil {
					return nil, err
				}
				out.Attempts = records[0].Attempts
			}
			result.Docs = append(result.Docs, out)
		}
	}
	return result, svc.jobs.CountReplay(ctx, b.Position, counters)
}

// remove removes the record of a revision, if there is one.
func (svc *Service) remove(ctx context.Context, job, id, rev string) error {
	r, err := svc.failures.Get(ctx, job, id, rev)
	if errors.Is(err, failures.ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	return svc.failures.Remove(ctx, r)
}

// verdicts are what became of the documents of a batch.
type verdicts struct {
	written map[string][]string   // revisions by id
	refused map[string][]rejected // by id
}

func newVerdicts(written []*millracev1.DocRef, refused []rejected) verdicts {
	v := verdicts{map[string][]string{}, map[string][]rejected{}}
	for _, ref := range written {
		v.written[ref.Id] = append(v.written[ref.Id], ref.Rev)
	}
	for _, r := range refused {
		v.refused[r.Id] = append(v.refused[r.Id], r)
	}
	return v
}

// of says what became of one rejected revision, and, if it is still rejected, what is to be
// recorded of it. Leaves that descend from it stand for it: the source gives them in its place.
func (v verdicts) of(id, rev string) (*millracev1.ReplayedDoc, rejected) {
	out := &millracev1.ReplayedDoc{Id: id, Rev: rev, Outcome: millracev1.ReplayedDoc_OUTCOME_WRITTEN}
	for _, w := range v.written[id] {
		if w == rev {
			return out, rejected{}
		}
	}
	refused, known := v.refusal(id, rev)
	if !known && len(v.written[id]) > 0 {
		out.Leaves = v.written[id]
		return out, rejected{}
	}
	if !known {
		out.Outcome, out.Error, out.Reason = millracev1.ReplayedDoc_OUTCOME_FAILED, "error", "the source answered nothing about it"
		return out, rejected{}
	}
	out.Outcome = millracev1.ReplayedDoc_OUTCOME_REFUSED
	if refused.Stage != Name && refused.Status == http.StatusNotFound {
		out.Outcome = millracev1.ReplayedDoc_OUTCOME_VANISHED
	}
	out.Status, out.Error, out.Reason = refused.Status, refused.Error, refused.Reason
	return out, refused
}

// refusal is that of the revision, or of a leaf that came in its place.
func (v verdicts) refusal(id, rev string) (rejected, bool) {
	all := v.refused[id]
	for _, r := range all {
		if r.Rev == rev {
			return r, true
		}
	}
	if len(all) == 0 {
		return rejected{}, false
	}
	// The record stays that of the revision that the job met, and has no other one's document.
	first := all[0]
	r := &millracev1.Rejection{
		Id: id, Rev: rev, Stage: first.Stage, Status: first.Status, Error: first.Error, Attempts: 1,
		Reason: fmt.Sprintf("%s, which descends from it: %s", first.Rev, first.Reason),
	}
	return rejected{Rejection: r}, true
}
