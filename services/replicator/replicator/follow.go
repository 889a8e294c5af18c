package replicator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/pause"
	"millrace/pkg/stage"
	"millrace/pkg/watermark"
	millracev1 "millrace/proto/millrace/v1"
)

const (
	// stopPatience is how long a run that is stopped may take for its last checkpoint.
	stopPatience = 10 * time.Second
	// statusInterval is how often a run says how it goes.
	statusInterval = 250 * time.Millisecond
)

// logs are the three logs that a run follows.
type logs struct {
	routed, done, events <-chan broker.Entry
	failed               <-chan error
	stop                 func()
}

// open begins to read the logs: of what is routed and done from the first record
// that is there (what a checkpoint covers was purged, and is ignored where it was
// not), of events from now on.
func (r *run) open(ctx context.Context) (*logs, error) {
	b, n, s := r.m.broker, r.m.broker.Streams(), r.m.broker.Subjects()
	from := uint64(0)
	last, err := b.Last(ctx, n.Events, s.Events(r.job.Id))
	switch {
	case err == nil:
		from = last.Sequence + 1
	case !errors.Is(err, broker.ErrGone):
		return nil, fmt.Errorf("find the newest event: %w", err)
	}
	t := newTailing(ctx)
	out := &logs{
		routed: t.follow(b, n.Routed, s.Routed(r.job.Feed), 0),
		done:   t.follow(b, n.Done, s.Done(r.job.Id), 0),
		events: t.follow(b, n.Events, s.Events(r.job.Id), from),
	}
	out.failed, out.stop = t.failed, t.stop
	return out, nil
}

// follow moves the watermark with what the logs say, writes checkpoints, and
// notices the end of the feed, of the run, and of progress.
func (r *run) follow(ctx context.Context) error {
	l, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer l.stop()
	interval := time.Duration(directory.Tuning(r.job).GetCheckpointIntervalMs()) * time.Millisecond
	checkpoint := time.NewTicker(interval)
	defer checkpoint.Stop()
	status := time.NewTicker(statusInterval)
	defer status.Stop()
	stall := time.NewTicker(r.m.options.StallInterval)
	defer stall.Stop()
	for !r.mark.EndReached() {
		select {
		case <-ctx.Done():
			return r.stop(ctx)
		case err = <-l.failed:
		case e := <-l.routed:
			err = r.tookRouted(e)
		case e := <-l.done:
			err = r.tookDone(e)
		case e := <-l.events:
			err = r.tookEvent(ctx, e)
		case <-checkpoint.C:
			err = r.checkpoint(ctx)
			// From its end: databases that are slow to take it leave time for the logs.
			checkpoint.Reset(interval)
		case <-status.C:
			r.publishStatus(ctx)
		case <-stall.C:
			err = r.checkStall(ctx)
		}
		if ctx.Err() != nil { // whatever it was in the middle of
			return r.stop(ctx)
		}
		if err != nil {
			return err
		}
	}
	return r.finish(ctx)
}

// stop writes a last checkpoint when the run is interrupted; the run stays the job's,
// for whoever goes on with it.
func (r *run) stop(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, broker.ErrLeaseLost) {
		return cause // another owner writes the checkpoints now
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	if err := r.checkpoint(last); err != nil {
		r.log.WarnContext(ctx, "last checkpoint was not written; the next run repeats what came after the one before", "error", err)
	}
	r.publishStatus(last)
	return cause
}

// finish writes the checkpoint of a feed that is done; without it the job is not complete.
func (r *run) finish(ctx context.Context) error {
	for {
		err := r.checkpoint(ctx)
		if err == nil {
			r.publishStatus(ctx)
			return nil
		}
		var c *crash
		if errors.As(err, &c) || ctx.Err() != nil {
			return err
		}
		r.log.WarnContext(ctx, "last checkpoint was not written; trying again", "error", err)
		if err := pause.For(ctx, time.Second); err != nil {
			return err
		}
	}
}

func (r *run) tookRouted(e broker.Entry) error {
	var m millracev1.Routed
	if err := proto.Unmarshal(e.Data, &m); err != nil {
		return fmt.Errorf("decode record %d of what is routed: %w", e.Sequence, err)
	}
	r.window.heardRouted(e.Sequence)
	if m.Only != nil && !r.is(m.Only) {
		return nil
	}
	if !r.window.sawRouted(m.Ordinal, m.Epoch, e.Sequence, m.Rows) {
		return twoBatches(m.Ordinal)
	}
	if m.Only == nil && (m.Roster < r.progress.Joined || r.in(m.Skipped)) {
		r.mark.Skipped(m.Ordinal)
		return nil
	}
	routing := watermark.Routing{Ordinal: m.Ordinal, Named: r.in(m.Named), End: m.End}
	if len(m.Seq) > 0 {
		routing.Seq = m.Seq
	}
	r.mark.Routed(routing)
	return nil
}

func (r *run) in(jobs []*millracev1.RoutedJob) bool {
	for _, j := range jobs {
		if r.is(j) {
			return true
		}
	}
	return false
}

func (r *run) is(j *millracev1.RoutedJob) bool { return j.Job == r.job.Id && j.Run == r.job.Run }

func (r *run) tookDone(e broker.Entry) error {
	var m millracev1.Done
	if err := proto.Unmarshal(e.Data, &m); err != nil {
		return fmt.Errorf("decode record %d of what is done: %w", e.Sequence, err)
	}
	r.window.heardDone(e.Sequence)
	if m.Position.GetRun() != r.job.Run || m.Position.GetFeed() != r.job.Feed {
		return nil // of a run that is over
	}
	if !r.window.sawDone(m.Position.Ordinal, m.Position.Epoch, e.Sequence) {
		return twoBatches(m.Position.Ordinal)
	}
	part := watermark.Part{Ordinal: m.Position.Ordinal, Number: 1, Last: true, Stats: statsOf(m.Counters)}
	if m.Part != nil {
		part.Attempt, part.Number, part.Last = m.Part.Attempt, m.Part.Number, m.Part.Last
	}
	return r.mark.Done(part)
}

// twoBatches ends a run in whose feed an ordinal was used twice: what is done of the one
// batch would count for the other (invariant 1).
func twoBatches(ordinal uint64) error {
	return &crash{lost: true, reason: fmt.Sprintf("batch %d was read in two epochs: the feed's log was lost", ordinal)}
}

func (r *run) tookEvent(ctx context.Context, e broker.Entry) error {
	var m millracev1.Event
	if err := proto.Unmarshal(e.Data, &m); err != nil {
		return fmt.Errorf("decode event %d: %w", e.Sequence, err)
	}
	switch {
	case m.Position.GetRun() != r.job.Run:
		return nil
	case m.Class != millracev1.Event_CLASS_INFO:
		return crashed(&m)
	case m.Error == stage.FeedOpened:
		return r.sameSource(ctx)
	}
	return nil
}
