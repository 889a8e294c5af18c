package writer

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"millrace/pkg/failures"
	millracev1 "millrace/proto/millrace/v1"
)

// recordsAtOnce is how many records are written at a time: each is a question to the broker and
// two messages.
const recordsAtOnce = 16

// unfetched are the revisions of a part that the source did not give.
func unfetched(b *millracev1.WriteBatch) []rejected {
	out := make([]rejected, len(b.Rejected))
	for i, r := range b.Rejected {
		out[i] = rejected{Rejection: r}
	}
	return out
}

// record records what was rejected. Only then may a checkpoint cover it (invariant 1).
func (svc *Service) record(ctx context.Context, job *millracev1.Job, pos *millracev1.Position, all []rejected) ([]*failures.Record, error) {
	trace := traceID(ctx)
	records := make([]*failures.Record, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(recordsAtOnce)
	for i, r := range all {
		group.Go(func() (err error) {
			r.Position, r.Time, r.TraceId = pos, time.Now().UnixNano(), trace
			r.SourceEndpoint = job.GetSource().GetId()
			records[i], err = svc.failures.Put(ctx, job.Id, r.Rejection, r.doc)
			return err
		})
	}
	return records, group.Wait()
}

func traceID(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		return span.TraceID().String()
	}
	return ""
}

// recorded is which revisions of a job had been rejected before a run of it began.
type recorded struct {
	mu    sync.Mutex
	index *failures.Index
}

// before returns the index, made when it is first asked for.
func (r *recorded) before(ctx context.Context, store *failures.Store, job string) (*failures.Index, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.index != nil {
		return r.index, nil
	}
	index, err := store.Index(ctx, job)
	if err != nil {
		return nil, err
	}
	r.index = index
	return index, nil
}

// mended removes the records of what the target takes now: a job that was begun again from its
// beginning, after what had been in the way was mended, leaves none.
func (svc *Service) mended(ctx context.Context, pos *millracev1.Position, written []*millracev1.DocRef) error {
	if len(written) == 0 {
		return nil
	}
	index, err := svc.recorded.Of(pos).before(ctx, svc.failures, pos.Job)
	if err != nil {
		return err
	}
	for _, ref := range written {
		if !index.Has(ref.Id, ref.Rev) {
			continue
		}
		if err := svc.remove(ctx, pos.Job, ref.Id, ref.Rev); err != nil {
			return err
		}
	}
	return nil
}
