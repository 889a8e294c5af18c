package replicator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/checkpoint"
	"millrace/pkg/control"
	"millrace/pkg/replication"
	"millrace/pkg/watermark"
	millracev1 "millrace/proto/millrace/v1"
)

// run is one run of one job, in the hands of the job's owner. One goroutine has it.
type run struct {
	m        *Manager
	job      *millracev1.Job
	revision uint64 // of the job's key
	base     string // base id: the checkpoint document's name
	lease    *broker.Lease
	log      *slog.Logger

	progress *millracev1.Progress
	session  checkpoint.Session
	history  []checkpoint.Entry // of the sessions before this one
	before   replication.Stats  // totals of those sessions
	// last is what was known of the job's last run when this one began.
	last   *millracev1.Progress
	mark   *watermark.Watermark
	window *window
	stall  stallWatch
	status *statusTimer
	logs   logs
	// lag fires when the run may have been passed over.
	lag *time.Timer
	// behind is the newest ordinal that the feed had when the run joined it; 0 once what it
	// lacks is asked for.
	behind uint64
	// docSize is what a document of the source takes on average, in bytes; 0 if it does not say.
	docSize uint64
	// pushed: the source filters the feed.
	pushed bool
	// what of the run is in a checkpoint
	saved watermark.Position
}

// do runs the job to its end. It returns nil when the end of a one-shot job's feed is
// reached, a *[crash] when the run cannot go on, and ctx's error when it was told to
// stop; then the last checkpoint says how far it got.
func (r *run) do(ctx context.Context) error {
	defer r.logs.close()
	if err := r.listen(ctx); err != nil {
		return err
	}
	resumed, err := r.resume(ctx)
	if err != nil {
		return err
	}
	if !resumed {
		if err := r.end(ctx); err != nil { // of a run that cannot be gone on with
			return err
		}
		if err := r.begin(ctx); err != nil {
			return crashOf(err)
		}
	}
	r.saved = r.mark.Checkpoint()
	r.log.InfoContext(ctx, "run begins", "since", string(r.progress.StartSeq), "resumed", resumed)
	for {
		if err := r.follow(ctx); err != nil || !r.job.Continuous {
			return err
		}
		if err := r.move(ctx); err != nil {
			return err
		}
	}
}

// save stores the job as it is now.
func (r *run) save(ctx context.Context) error {
	r.job.LastUpdated = time.Now().UnixNano()
	revision, err := r.m.jobs.Write(ctx, r.job, r.revision)
	if err != nil {
		return err
	}
	r.revision = revision
	return nil
}

// ask asks a side about the job's database.
func (r *run) ask(ctx context.Context, side control.Side, req *millracev1.DatabaseRequest) (*millracev1.DatabaseReply, error) {
	site := r.job.SourceSite
	req.Endpoint = r.job.Source
	if side == control.Target {
		site, req.Endpoint = r.job.TargetSite, r.job.Target
	}
	return r.m.control.Do(ctx, side, site, req)
}

// end ends the run: its feed is read no more, its messages are dropped wherever
// they are, and what is left of it in the broker is removed.
func (r *run) end(ctx context.Context) error {
	if !r.job.Active {
		return nil
	}
	r.job.Active = false
	if err := r.save(ctx); err != nil {
		return err
	}
	return r.leaveFeed(ctx)
}

// leaveFeed ends the run's part in its feed, and removes what is left of the run in the
// broker.
func (r *run) leaveFeed(ctx context.Context) error {
	if err := r.m.leave(ctx, r.job.Feed, r.job.Id, r.job.Run); err != nil {
		return err
	}
	return r.clear(ctx)
}

// clear removes the run's messages. Those that are missed here are dropped by the
// stage that meets them.
func (r *run) clear(ctx context.Context) error {
	b := r.m.broker
	s, n := b.Subjects(), b.Streams()
	job := r.job.Id
	var errs []error
	for _, of := range []struct{ stream, subject string }{
		{n.Selected, s.Selected(r.job.TargetSite, job)},
		{n.Missing, s.Missing(r.job.SourceSite, job)},
		{n.Missing, s.Again(r.job.SourceSite, job)},
		{n.Missing, s.Large(r.job.SourceSite, job)},
		{n.Missing, s.LargeAgain(r.job.SourceSite, job)},
		{n.Write, s.Write(r.job.TargetSite, job)},
		{n.Write, s.WriteAgain(r.job.TargetSite, job)},
		{n.Replay, s.Replay(job)},
		{n.Done, s.Done(job)},
	} {
		if err := b.Purge(ctx, of.stream, of.subject, math.MaxUint64); err != nil {
			errs = append(errs, fmt.Errorf("purge %s: %w", of.subject, err))
		}
	}
	return errors.Join(errs...)
}
