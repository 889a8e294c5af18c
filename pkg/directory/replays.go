package directory

import (
	"context"
	"errors"
	"slices"

	millracev1 "millrace/proto/millrace/v1"
)

// countedReplays is of how many replays of a job is known which batches are counted. Of older
// ones nothing is on its way any more.
const countedReplays = 16

// CountReplay adds what a batch of a replay has done to the job's totals of replays, if it is not
// counted yet.
func (j *Jobs) CountReplay(ctx context.Context, pos *millracev1.Position, c *millracev1.Counters) error {
	for {
		totals, revision, err := j.replays.newest(ctx, pos.Job)
		switch {
		case errors.Is(err, ErrUnknown):
			totals = &millracev1.ReplayTotals{}
		case err != nil:
			return err
		}
		if !count(totals, pos, c) {
			return nil
		}
		_, err = j.replays.write(ctx, pos.Job, totals, revision)
		if !errors.Is(err, ErrChanged) {
			return err
		}
	}
}

// Replayed is what all replays of the job's rejected documents have done.
func (j *Jobs) Replayed(ctx context.Context, id string) (*millracev1.Counters, error) {
	totals, _, err := j.replays.newest(ctx, id)
	if errors.Is(err, ErrUnknown) {
		return &millracev1.Counters{}, nil
	}
	return totals.GetCounters(), err
}

// count adds a batch, and reports whether it was not counted yet.
func count(t *millracev1.ReplayTotals, pos *millracev1.Position, c *millracev1.Counters) bool {
	of := slices.IndexFunc(t.Counted, func(r *millracev1.CountedReplay) bool { return r.Replay == pos.Replay })
	if of < 0 {
		t.Counted = append(t.Counted, &millracev1.CountedReplay{Replay: pos.Replay})
		if len(t.Counted) > countedReplays {
			t.Counted = t.Counted[1:]
		}
		of = len(t.Counted) - 1
	}
	r := t.Counted[of]
	at, there := slices.BinarySearch(r.Above, pos.Ordinal)
	if there || pos.Ordinal <= r.UpTo {
		return false
	}
	r.Above = slices.Insert(r.Above, at, pos.Ordinal)
	for len(r.Above) > 0 && r.Above[0] == r.UpTo+1 {
		r.UpTo, r.Above = r.UpTo+1, r.Above[1:]
	}
	if t.Counters == nil {
		t.Counters = &millracev1.Counters{}
	}
	sum := t.Counters
	sum.DocsRead += c.GetDocsRead()
	sum.DocsWritten += c.GetDocsWritten()
	sum.DocWriteFailures += c.GetDocWriteFailures()
	sum.BytesWritten += c.GetBytesWritten()
	return true
}

// ForReplay returns the job whose rejected documents are replayed, whatever its state. The error
// wraps [ErrUnknown] when it is no more.
func (j *Jobs) ForReplay(ctx context.Context, id string) (*millracev1.Job, error) {
	if job, _, ok := j.table.cached(id); ok {
		return job, nil
	}
	job, _, err := j.table.read(ctx, id)
	return job, err
}
