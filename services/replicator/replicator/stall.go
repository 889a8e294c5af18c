package replicator

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nuid"

	"millrace/pkg/broker"
	"millrace/pkg/watermark"
	millracev1 "millrace/proto/millrace/v1"
)

// stallWatch notices a run that gets no further although nothing is under way.
type stallWatch struct {
	ordinal uint64
	// idle counts the looks in a row at which the run had not moved and its queues
	// were empty, or its next batch was not routed.
	idle int
}

// idleLooks is after how many such looks a message counts as lost. What is between
// two queues is in the hands of a stage and still in the first of them.
const idleLooks = 2

// idleLooksBehind is after how many looks a batch is asked for that the selector may have in hand: large
// ones take their time, another feed's may hang, and asking for them again makes it worse.
const idleLooksBehind = 24

// checkStall looks after a run whose watermark stands. Batches that were passed over, or that
// the selector may never have seen, are routed again from the feed's log; a
// batch that was routed and is in no queue is lost, and a new run reads it again.
func (r *run) checkStall(ctx context.Context) error {
	if moved := r.mark.Ordinal() != r.stall.ordinal; moved {
		r.stall = stallWatch{ordinal: r.mark.Ordinal()}
		return nil
	}
	feed, err := r.m.sharing.look(ctx, r.job.Feed, r.m.options.StallInterval/2)
	if err != nil {
		return err
	}
	// The log's end may be gone (limits, a wiped disk); then only what has been heard of counts.
	head := max(feed.head, r.mark.Head())
	switch {
	case feed.trimmed && r.mark.Head() > r.mark.Ordinal():
		return &crash{lost: true, reason: "no progress: the feed's log is gone"}
	case !feed.there:
		// Nobody routes what is left of it, and there would be no end to wait for.
		return &crash{lost: true, reason: "no progress: the feed is no more"}
	case head <= r.mark.Ordinal():
		return nil
	}
	switch holes := r.mark.Holes(1); {
	case len(holes) == 0 || holes[0].Reason == watermark.Unrouted:
		// Most likely the selector has not got to it yet.
		patience := idleLooks
		if feed.behind {
			patience = idleLooksBehind
		}
		if r.stall.idle++; r.stall.idle < patience {
			return nil
		}
		_, err := r.replay(ctx, r.mark.Ordinal()+1, head)
		return err
	case holes[0].Reason == watermark.Lagging:
		_, err := r.replay(ctx, r.mark.Ordinal()+1, head)
		return err
	default:
		return r.checkLost(ctx, holes[0].Ordinal)
	}
}

// checkLost ends the run when a batch that is routed and not done is nowhere any more.
func (r *run) checkLost(ctx context.Context, ordinal uint64) error {
	quiet, err := r.quiet(ctx)
	if err != nil {
		return err
	}
	if !quiet {
		r.stall.idle = 0
		return nil
	}
	if r.stall.idle++; r.stall.idle < idleLooks {
		return nil
	}
	return &crash{lost: true, reason: fmt.Sprintf(
		"no progress: batch %d was routed, is not done and is in no queue; a message was lost", ordinal)}
}

// quiet reports whether nothing of the run is under way: no stage has a message of it, and
// all that was done and routed has been heard of. The queues are looked at first: what
// left the last of them meanwhile stands in the log of what is done.
func (r *run) quiet(ctx context.Context) (bool, error) {
	empty, err := r.queuesEmpty(ctx)
	if err != nil || !empty {
		return false, err
	}
	b, n, s := r.m.broker, r.m.broker.Streams(), r.m.broker.Subjects()
	for _, log := range []struct {
		stream, subject string
		seen            uint64
	}{
		{n.Done, s.Done(r.job.Id), r.window.done},
		{n.Routed, s.Routed(r.job.Feed), r.window.routed},
	} {
		last, err := b.Last(ctx, log.stream, log.subject)
		if err != nil && !errors.Is(err, broker.ErrGone) {
			return false, fmt.Errorf("look into %s: %w", log.subject, err)
		}
		if last.Sequence > log.seen {
			return false, nil
		}
	}
	return true, nil
}

// queuesEmpty reports whether no stage has or gets a message of the run.
func (r *run) queuesEmpty(ctx context.Context) (bool, error) {
	b, n, s := r.m.broker, r.m.broker.Streams(), r.m.broker.Subjects()
	for _, q := range []struct{ stream, subject string }{
		{n.Selected, s.Selected(r.job.TargetSite, r.job.Id)},
		{n.Missing, s.Missing(r.job.SourceSite, r.job.Id)},
		{n.Missing, s.Again(r.job.SourceSite, r.job.Id)},
		{n.Missing, s.Large(r.job.SourceSite, r.job.Id)},
		{n.Missing, s.LargeAgain(r.job.SourceSite, r.job.Id)},
		{n.Write, s.Write(r.job.TargetSite, r.job.Id)},
		{n.Write, s.WriteAgain(r.job.TargetSite, r.job.Id)},
	} {
		_, err := b.Last(ctx, q.stream, q.subject)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, broker.ErrGone) {
			return false, fmt.Errorf("look into %s: %w", q.subject, err)
		}
	}
	return true, nil
}

// replay asks the selector to route a part of the feed's log to this job again, and reports
// whether it did. There is one request at a time in the queue; the queue's limit keeps more out.
func (r *run) replay(ctx context.Context, first, last uint64) (asked bool, err error) {
	b := r.m.broker
	subject := b.Subjects().Replay(r.job.Id)
	_, err = b.Last(ctx, b.Streams().Replay, subject)
	if err == nil {
		return false, nil // the one before is not done yet
	}
	if !errors.Is(err, broker.ErrGone) {
		return false, fmt.Errorf("ask for a replay: %w", err)
	}
	r.log.InfoContext(ctx, "batches are routed again from the feed's log", "first", first, "last", last)
	return true, r.m.publish(ctx, subject, nuid.Next(), &millracev1.Replay{
		Feed: r.job.Feed, Job: r.job.Id, Run: r.job.Run, First: first, Last: last, Roster: r.progress.Joined,
	})
}
