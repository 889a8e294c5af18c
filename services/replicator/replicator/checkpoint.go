package replicator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/checkpoint"
	"millrace/pkg/control"
	"millrace/pkg/watermark"
	millracev1 "millrace/proto/millrace/v1"
)

const readOnlyNote = "the source refuses checkpoints: they are kept at the target and in the broker alone"

// checkpoint writes down how far the run has got: at both databases, in CouchDB's
// form, and then in the broker. Only what is at or below the watermark is in it
// (invariant 1).
//
// A database that does not answer is no reason to end the run: the stages notice
// it too, and the next checkpoint covers what this one would have.
func (r *run) checkpoint(ctx context.Context) error {
	at := r.mark.Checkpoint()
	if at.Ordinal == r.saved.Ordinal {
		return nil
	}
	var written []byte
	if r.job.Tuning.UseCheckpoints && r.moved(at) {
		next := r.session.Next(r.history, at.Seq, r.before.Add(at.Stats), time.Now())
		var err error
		if written, err = next.MarshalJSON(); err != nil {
			return fmt.Errorf("encode checkpoint: %w", err)
		}
		if err := r.writeBoth(ctx, written); err != nil {
			return r.survivable(ctx, err)
		}
	} else if err := r.same(ctx); err != nil { // which writing would have shown
		return r.survivable(ctx, err)
	}
	p := r.progress
	p.Ordinal, p.Seq, p.End, p.Counters = at.Ordinal, at.Seq, at.End, countersOf(at.Stats)
	if written != nil {
		p.Log = written
	}
	p.Rows = r.window.rowsUpTo(at.Ordinal)
	routed, done := r.window.checkpointed(at.Ordinal)
	p.RoutedFloor = routed
	if err := r.m.jobs.SetProgress(ctx, r.job.Id, p); err != nil {
		return r.survivable(ctx, err)
	}
	r.saved = at
	r.purge(ctx, routed, done)
	return nil
}

// moved reports whether the databases should remember the position: nothing is
// written for a run that met no change. (A filtered feed moves past changes that
// it does not list.)
func (r *run) moved(at watermark.Position) bool {
	if string(at.Seq) == string(r.saved.Seq) {
		return false
	}
	return r.window.rowsUpTo(at.Ordinal) > 0 || r.pushed
}

// survivable tells the errors that end the run from those that another checkpoint
// may not meet.
func (r *run) survivable(ctx context.Context, err error) error {
	var c *crash
	if errors.As(err, &c) {
		return c
	}
	var refused *control.Error
	if errors.As(err, &refused) {
		switch {
		case errors.Is(err, control.ErrNotOwner):
			return broker.ErrLeaseLost
		case errors.Is(err, control.ErrReplaced):
			return &crash{reason: refused.Reason, replaced: refused.Side, lost: true} // another run starts over
		case refused.Permanent:
			return &crash{reason: fmt.Sprintf("error updating the %s checkpoint document: %s", refused.Side, refused.Reason), permanent: true}
		}
	}
	if ctx.Err() != nil || r.mark.EndReached() {
		return err
	}
	r.log.WarnContext(ctx, "checkpoint was not written; the next one covers it", "error", err)
	return nil
}

// writeBoth writes a checkpoint document to the source and then to the target.
func (r *run) writeBoth(ctx context.Context, log []byte) error {
	p := r.progress
	if !p.ReadOnlySource {
		reply, err := r.put(ctx, control.Source, log, p.SourceInstance, p.SourceSession)
		if err != nil {
			return err
		}
		p.ReadOnlySource = reply.ReadOnly
		p.SourceSession = p.SessionId
		if reply.ReadOnly {
			r.note(ctx, readOnlyNote)
		}
	}
	if p.ReadOnlySource {
		var err error
		if log, err = standIn(log, p.SourceInstance); err != nil {
			return err
		}
	}
	reply, err := r.put(ctx, control.Target, log, p.TargetInstance, p.TargetSession)
	if err != nil {
		return err
	}
	if reply.ReadOnly {
		return &control.Error{
			Side: control.Target, Word: control.ErrDenied.Error(), Permanent: true,
			Reason: "the target refuses the checkpoint, and so would refuse documents",
		}
	}
	p.TargetSession = p.SessionId
	return nil
}

// standIn is a checkpoint document that can stand for the source's, if its instance_start_time
// is still this one when the document is read again.
func standIn(log []byte, instance string) ([]byte, error) {
	l, err := checkpoint.Parse(log)
	if err != nil {
		return nil, err
	}
	l.SourceInstance = instance
	return l.MarshalJSON()
}

func (r *run) put(ctx context.Context, side control.Side, log []byte, instance, session string) (*millracev1.DatabaseReply, error) {
	return r.ask(ctx, side, &millracev1.DatabaseRequest{
		Request: &millracev1.DatabaseRequest_PutCheckpoint_{PutCheckpoint: &millracev1.DatabaseRequest_PutCheckpoint{
			Id: r.base, Log: log, Lease: leaseName(r.base), LeaseRevision: r.lease.Revision(),
			InstanceStartTime: instance, SessionId: session,
		}},
	})
}

// note tells operators something about the job, once.
func (r *run) note(ctx context.Context, text string) {
	for _, known := range r.job.Notes {
		if known == text {
			return
		}
	}
	r.job.Notes = append(r.job.Notes, text)
	r.log.WarnContext(ctx, text)
}

// purge removes from the logs what no owner of the job will read again, and, of what is routed, what no
// run of the feed will.
func (r *run) purge(ctx context.Context, routed, done uint64) {
	b := r.m.broker
	err := b.Purge(ctx, b.Streams().Done, b.Subjects().Done(r.job.Id), done)
	floor, ferr := r.m.sharing.floor(ctx, r.job.Feed, r.job.Id, r.job.Run, routed)
	if ferr == nil {
		ferr = b.Purge(ctx, b.Streams().Routed, b.Subjects().Routed(r.job.Feed), floor)
	}
	if err := errors.Join(err, ferr); err != nil && ctx.Err() == nil {
		r.log.WarnContext(ctx, "logs were not purged; the next checkpoint does it", "error", err)
	}
}
