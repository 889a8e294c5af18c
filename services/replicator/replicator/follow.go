package replicator

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	// lagDelay is how long a run that was passed over waits before it asks for what it lacks: what
	// was routed at about the same time is asked for at once.
	lagDelay = 50 * time.Millisecond
	// lagAgain is when it looks again.
	lagAgain = 500 * time.Millisecond
)

// logs are the run's parts of the three logs that the process reads.
type logs struct {
	routed *listener[*routing]
	done   *listener[*millracev1.Done]
	events *listener[*millracev1.Event]
}

// listen begins to listen to what the logs say of the job, before there is anything of this run
// in them.
func (r *run) listen(ctx context.Context) (err error) {
	if r.logs.events, err = r.m.events.listen(ctx, r.job.Id); err != nil {
		return err
	}
	r.logs.done, err = r.m.done.listen(ctx, r.job.Id)
	return err
}

// listenTo listens to what the logs say of a feed, instead of the one before.
func (r *run) listenTo(ctx context.Context, feed string) (err error) {
	r.logs.routed.close()
	if r.logs.routed, err = r.m.routed.listen(ctx, feed); err != nil {
		return err
	}
	// What was routed before is asked for again where the run needs it.
	last, err := r.logs.routed.last(ctx)
	if err != nil {
		return fmt.Errorf("find the newest batch that is routed: %w", err)
	}
	r.window.heardRouted(last)
	return nil
}

// recall reads what the logs say of a run that is gone on with, from the first record that is
// there on: what a checkpoint covers was purged, and is ignored where it was not.
func (r *run) recall(ctx context.Context) error {
	return errors.Join(r.logs.routed.recall(ctx), r.logs.done.recall(ctx))
}

func (l *logs) close() {
	l.routed.close()
	l.done.close()
	l.events.close()
}

// follow moves the watermark with what the logs say, writes checkpoints, and
// notices the end of the feed, of the run, and of progress.
func (r *run) follow(ctx context.Context) error {
	interval := time.Duration(directory.Tuning(r.job).GetCheckpointIntervalMs()) * time.Millisecond
	checkpoint := time.NewTicker(interval)
	defer checkpoint.Stop()
	r.status = newStatusTimer()
	defer r.status.timer.Stop()
	stall := time.NewTicker(r.m.options.StallInterval)
	defer stall.Stop()
	r.lag = time.NewTimer(lagDelay)
	defer r.lag.Stop()
	for !r.mark.EndReached() {
		var err error
		select {
		case <-ctx.Done():
			return r.stop(ctx)
		case <-r.logs.routed.came:
			err = r.takeRouted()
			r.status.changed()
		case <-r.logs.done.came:
			err = r.takeDone()
			r.status.changed()
		case <-r.logs.events.came:
			err = r.takeEvents(ctx)
		case <-checkpoint.C:
			err = r.checkpoint(ctx)
			// From its end: databases that are slow to take it leave time for the logs.
			checkpoint.Reset(interval)
		case <-r.status.timer.C:
			r.publishStatus(ctx)
			r.status.published()
		case <-r.lag.C:
			err = r.catchUp(ctx)
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

// catchUp asks for the batches that the run was passed over with, or joined its feed behind.
func (r *run) catchUp(ctx context.Context) error {
	first, last := r.mark.Lagging()
	if r.behind > r.mark.Ordinal() {
		first, last = r.mark.Ordinal()+1, max(last, r.behind)
	}
	if first == 0 {
		return nil
	}
	r.lag.Reset(lagAgain)
	asked, err := r.replay(ctx, first, last)
	if asked {
		r.behind = 0
	}
	return err
}

func (r *run) takeRouted() error {
	records, err := r.logs.routed.take()
	for _, m := range records {
		if err := r.tookRouted(m); err != nil {
			return err
		}
	}
	return err
}

func (r *run) takeDone() error {
	records, err := r.logs.done.take()
	for _, m := range records {
		if err := r.tookDone(m); err != nil {
			return err
		}
	}
	return err
}

func (r *run) takeEvents(ctx context.Context) error {
	records, err := r.logs.events.take()
	for _, m := range records {
		if err := r.tookEvent(ctx, m.value); err != nil {
			return err
		}
	}
	return err
}

func (r *run) tookRouted(rec record[*routing]) error {
	m := rec.value
	r.window.heardRouted(rec.sequence)
	if m.Only != nil && (m.Only.Job != r.job.Id || m.Only.Run != r.job.Run) {
		return nil
	}
	if !r.window.sawRouted(m.Ordinal, m.Epoch, rec.sequence, m.Rows) {
		return twoBatches(m.Ordinal)
	}
	if m.Only == nil && (m.Roster < r.progress.Joined || r.in(m.skipped)) {
		r.mark.Skipped(m.Ordinal)
		r.lag.Reset(lagDelay)
		return nil
	}
	routing := watermark.Routing{Ordinal: m.Ordinal, Named: r.in(m.named), End: m.End}
	if len(m.Seq) > 0 {
		routing.Seq = m.Seq
	}
	r.mark.Routed(routing)
	return nil
}

func (r *run) in(runs map[string]uint64) bool {
	run, there := runs[r.job.Id]
	return there && run == r.job.Run
}

func (r *run) tookDone(rec record[*millracev1.Done]) error {
	m := rec.value
	r.window.heardDone(rec.sequence)
	if m.Position.GetRun() != r.job.Run || m.Position.GetFeed() != r.job.Feed {
		return nil // of a run that is over
	}
	if !r.window.sawDone(m.Position.Ordinal, m.Position.Epoch, rec.sequence) {
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

func (r *run) tookEvent(ctx context.Context, m *millracev1.Event) error {
	switch {
	case m.Position.GetRun() != r.job.Run:
		return nil
	case m.Class != millracev1.Event_CLASS_INFO:
		c := crashed(m)
		c.choosesNothing = r.pushed && refusedToChoose(m)
		return c
	case m.Error == stage.FeedOpened:
		return r.sameSource(ctx)
	}
	return nil
}
