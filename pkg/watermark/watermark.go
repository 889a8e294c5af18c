// Package watermark computes how far a run has got: the newest ordinal of its
// feed at or below which every batch is routed and, where it concerned the run,
// done. Only this may be checkpointed (DESIGN section 4 and invariant 1).
//
// Messages about batches arrive several times, out of order and from several
// workers; a [Watermark] takes them in any order and reaches the same value.
// It remembers only ordinals above the watermark (invariant 5).
package watermark

import (
	"fmt"

	"millrace/pkg/replication"
)

// Position is a place in a feed that may be checkpointed: everything at or
// below Ordinal is done, Seq names that place to the source, and Stats counts
// exactly what lies at or below it in this run. The zero value is the beginning
// of a feed.
type Position struct {
	// Ordinal of the newest batch that is covered. Ordinals begin at 1, so 0
	// is "before the first".
	Ordinal uint64
	// Seq is the source's sequence at Ordinal, as the bytes it came in. Nil
	// when no batch up to Ordinal had one: the run then still stands at the
	// sequence that it began with.
	Seq []byte
	// Stats are the run's counters up to and including Ordinal.
	Stats replication.Stats
	// End is the ordinal that carries the feed's end marker, 0 while it is not
	// known. It is kept here so that a run that is resumed at the very end of a
	// finite feed knows that it is complete.
	End uint64
}

// Routing says that the selector has decided for every job of the feed about
// one batch, and that the broker has the outcome.
type Routing struct {
	Ordinal uint64
	// Seq that the batch reaches, nil when it ends between two known ones.
	// The slice is kept, not copied.
	Seq []byte
	// Named is true when this run's job got rows of the batch, so that the
	// batch must be done as well as routed.
	Named bool
	// End marks the last batch of a finite feed.
	End bool
}

// Part says that one part of a batch is durable on the target or recorded as
// rejected. A batch that was not split has one part: Number 1, Last.
type Part struct {
	Ordinal uint64
	// Attempt tells apart several deliveries of the same batch, which may have
	// been split differently: parts of two attempts never add up.
	Attempt string
	// Number of the part within the attempt, from 1.
	Number uint32
	// Last marks the part with the highest number. How many parts there are
	// need not be known when the first is sent on.
	Last bool
	// Stats of this part alone.
	Stats replication.Stats
}

// PartError refuses a [Part] that cannot belong to any batch: parts are
// numbered from 1.
type PartError struct{ Part Part }

func (e *PartError) Error() string {
	return fmt.Sprintf("batch %d: part %d of attempt %q: parts are numbered from 1", e.Part.Ordinal, e.Part.Number, e.Part.Attempt)
}

// Watermark follows one run of one job on one feed. It is not safe for
// concurrent use: one goroutine owns it.
//
// Routed, Skipped and Done take constant time, amortised: a batch is entered
// once, and left once when the watermark passes it. Memory is proportional to
// the number of distinct messages about ordinals above the watermark, whatever
// their distance from it.
type Watermark struct {
	now  Position // everything at or below is done; Seq is the newest known
	safe Position // the newest position whose own batch had a seq
	head uint64   // newest ordinal heard of
	open map[uint64]*batch
	tally
}

// tally counts the open batches by what is known of them.
type tally struct {
	routed  int // routed, whether done or not
	lagging int // passed over by the selector and not routed since
	undone  int // routed, named, and not done
}

// New returns the watermark of a run that continues from start, usually
// Position{Ordinal: o} with the ordinal before the first batch of a new run, or
// what [Watermark.Checkpoint] of the same run last returned.
func New(start Position) *Watermark {
	return &Watermark{now: start, safe: start, head: start.Ordinal, open: make(map[uint64]*batch)}
}

// Routed records a routing. Repetitions are harmless; where they disagree about
// Named, the batch has to be done, which errs towards waiting (invariant 1).
func (w *Watermark) Routed(r Routing) {
	if r.End {
		w.setEnd(r.Ordinal)
	}
	b := w.at(r.Ordinal)
	if b == nil {
		return
	}
	w.adjust(b, -1)
	b.route(r)
	w.adjust(b, 1)
	w.advance()
}

// Skipped records that the selector passed over the job at this ordinal because
// the job lags. The ordinal stays a hole until it is routed after all. A skip
// that arrives after the routing is late and changes nothing.
func (w *Watermark) Skipped(ordinal uint64) {
	b := w.at(ordinal)
	if b == nil {
		return
	}
	w.adjust(b, -1)
	b.skipped = true
	w.adjust(b, 1)
}

// Done records a part, which may come before its batch's routing. Its counters
// enter the run's when the watermark passes the batch, once, however often the
// part is reported and however many attempts were made; they are those of the
// first attempt that was complete. A Done at or below the watermark is ignored.
// The error is a *[PartError].
func (w *Watermark) Done(p Part) error {
	if p.Number == 0 {
		return &PartError{Part: p}
	}
	b := w.at(p.Ordinal)
	if b == nil {
		return nil
	}
	w.adjust(b, -1)
	b.add(p)
	w.adjust(b, 1)
	w.advance()
	return nil
}

// Ordinal is the watermark: the newest ordinal at or below which everything is
// routed and, where named, done. It never goes back.
func (w *Watermark) Ordinal() uint64 { return w.now.Ordinal }

// Seq is the newest known sequence at or below the watermark; nil when the run
// has not passed one. Batches may have none, so it can be older than Ordinal.
func (w *Watermark) Seq() []byte { return w.now.Seq }

// Stats are the run's counters up to the watermark.
func (w *Watermark) Stats() replication.Stats { return w.now.Stats }

// Checkpoint is the newest position that can be named to the source. It lies
// below [Watermark.Ordinal] when the batches since had no sequence, and its
// Stats then leave those batches out: a run that resumes there counts them
// again.
func (w *Watermark) Checkpoint() Position { return w.safe }

// End is the ordinal of the end marker; 0 while none has been heard of.
func (w *Watermark) End() uint64 { return w.now.End }

// EndReached reports that the feed is finite and everything in it is done.
func (w *Watermark) EndReached() bool { return w.now.End != 0 && w.now.Ordinal >= w.now.End }

// Head is the newest ordinal that any message has mentioned.
func (w *Watermark) Head() uint64 { return w.head }

// at returns the open batch of an ordinal, creating it, or nil when the ordinal
// is at or below the watermark: the message is late.
func (w *Watermark) at(ordinal uint64) *batch {
	if ordinal <= w.now.Ordinal {
		return nil
	}
	w.head = max(w.head, ordinal)
	b := w.open[ordinal]
	if b == nil {
		b = &batch{}
		w.open[ordinal] = b
	}
	return b
}

// advance passes every batch that is complete and next in order.
func (w *Watermark) advance() {
	for {
		next := w.now.Ordinal + 1
		b := w.open[next]
		if b == nil || !b.complete() {
			return
		}
		w.adjust(b, -1)
		delete(w.open, next)
		w.pass(next, b)
	}
}

func (w *Watermark) pass(ordinal uint64, b *batch) {
	w.now.Ordinal = ordinal
	w.now.Stats = w.now.Stats.Add(b.stats())
	if b.seq == nil {
		return
	}
	w.now.Seq = b.seq
	w.safe = w.now
}

// setEnd keeps the newest end marker, even a late one: it says nothing about
// what is done.
func (w *Watermark) setEnd(ordinal uint64) {
	w.now.End = max(w.now.End, ordinal)
	w.safe.End = w.now.End
}

// adjust adds n to the counts that b belongs to.
func (t *tally) adjust(b *batch, n int) {
	switch {
	case b.routed:
		t.routed += n
		if !b.complete() {
			t.undone += n
		}
	case b.skipped:
		t.lagging += n
	}
}
