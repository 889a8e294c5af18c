package replicator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/pkg/control"
	millracev1 "millrace/proto/millrace/v1"
)

// same checks that both databases are those that the run began with. One that was made
// again has nothing of what the run has done so far, and without a checkpoint to write
// nobody would notice (invariant 1).
//
// The error is a *[crash] if one is another database, or gone; any other says that one
// does not answer.
func (r *run) same(ctx context.Context) error {
	return errors.Join(r.sameOn(ctx, control.Source), r.sameOn(ctx, control.Target))
}

// sameSource is same for when the source's feed is opened, which says nothing of the
// target: what a source that was made again has below the old one's seq would never be read.
// A source that does not answer is no reason to end the run: its reader notices that too.
func (r *run) sameSource(ctx context.Context) error {
	err := r.sameOn(ctx, control.Source)
	var c *crash
	if err == nil || errors.As(err, &c) {
		return err
	}
	r.log.DebugContext(ctx, "source was not looked at; its reader reports what is wrong", "error", err)
	return nil
}

// lookPatience is how long a look at a database may take. The run stands meanwhile.
const lookPatience = 5 * time.Second

func (r *run) sameOn(ctx context.Context, side control.Side) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	p := r.progress
	began, session := p.SourceInstance, p.SourceSession
	if side == control.Target {
		began, session = p.TargetInstance, p.TargetSession
	}
	reply, err := r.ask(ctx, side, info())
	if err != nil {
		return unlessPermanent(err)
	}
	if tells(reply.InstanceStartTime) && tells(began) && reply.InstanceStartTime != began {
		return replaced("instance_start_time on %s database has changed since last checkpoint.", side)
	}
	if session == "" || side == control.Source && p.ReadOnlySource {
		return nil
	}
	// instance_start_time has a resolution of one second.
	reply, err = r.ask(ctx, side, getCheckpoint(r.base))
	if err != nil {
		return unlessPermanent(err)
	}
	if len(reply.Log) == 0 {
		return replaced("the checkpoint on the %s database is gone since it was written.", side)
	}
	return nil
}

// noteReplaced says in the job's notes that a database is another than the job's last run had: the
// end of that run may have been that it found none at all.
func (r *run) noteReplaced(ctx context.Context, now *millracev1.Progress) error {
	before, err := r.m.jobs.Progress(ctx, r.job.Id)
	if err != nil || before == nil {
		return err
	}
	session := before.SourceSession
	if before.ReadOnlySource {
		session = "" // it never had a checkpoint
	}
	for side, is := range map[control.Side]bool{
		control.Source: another(before.SourceInstance, now.SourceInstance, session, now.SourceSession),
		control.Target: another(before.TargetInstance, now.TargetInstance, before.TargetSession, now.TargetSession),
	} {
		if is {
			r.note(ctx, startedOver(side))
		}
	}
	return nil
}

// another reports whether a database was made again: it says another instance_start_time, or the
// checkpoint is gone from it that it had.
func another(instance, now, session, sessionNow string) bool {
	return tells(instance) && tells(now) && instance != now || session != "" && sessionNow == ""
}

// tells reports whether an instance_start_time says anything: servers without give "0".
func tells(instance string) bool { return instance != "" && instance != "0" }

// unlessPermanent makes the end of the run of what no later look will find otherwise.
func unlessPermanent(err error) error {
	var refused *control.Error
	if errors.As(err, &refused) && refused.Permanent {
		return crashOf(err)
	}
	return err
}

func replaced(format string, side control.Side) *crash {
	return &crash{lost: true, replaced: side, reason: fmt.Sprintf(format, side)} // another run starts over
}
