package replicator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/pause"
	"millrace/pkg/replication"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

// ownAgain is the wait before a job is owned again that could not be.
const ownAgain = time.Second

// own owns a job, or waits until nobody else does, until the job is at its end.
func (m *Manager) own(ctx context.Context, id string) {
	for ctx.Err() == nil {
		err := m.term(ctx, id)
		m.sweeper.want()
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case errors.Is(err, broker.ErrLeaseLost) || errors.Is(err, directory.ErrChanged):
			m.log.InfoContext(ctx, "job changed hands", "job", id, "error", err)
		default:
			m.log.WarnContext(ctx, "job cannot be run now", "job", id, "error", err)
		}
		if pause.For(ctx, ownAgain) != nil {
			return
		}
	}
}

// baseOf is the base of a replication id: the name of the checkpoint document.
func baseOf(job *millracev1.Job) string {
	base, _, _ := strings.Cut(job.ReplicationId, "+")
	return base
}

// leaseName is the lease on a checkpoint document. A continuous and a one-shot job
// of the same databases share one, and so run one after the other.
func leaseName(base string) string { return "job." + base }

// term is one ownership of a job. It returns nil when the job is at its end.
func (m *Manager) term(ctx context.Context, id string) error {
	job, _, err := m.jobs.Read(ctx, id)
	if errors.Is(err, directory.ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	if idle(job) {
		return nil
	}
	lease, err := m.broker.WaitLease(ctx, leaseName(baseOf(job)), m.options.Holder, m.options.LeaseTTL)
	if err != nil {
		return fmt.Errorf("wait for the job's lease: %w", err)
	}
	defer m.release(ctx, lease)
	m.sweeper.want() // the owner of before may have died in the middle of ending a run
	held, cancel := lease.Context(ctx)
	defer cancel()
	return m.live(telemetry.WithJob(held, id, 0), id, lease)
}

// release lets another process have the job at once; without it the lease expires.
func (m *Manager) release(ctx context.Context, lease *broker.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := lease.Release(ctx); err != nil {
		m.log.DebugContext(ctx, "lease was not released and expires", "error", err)
	}
}

// idle reports that nothing is to be done for the job in its present state.
func idle(job *millracev1.Job) bool {
	s := replication.State(job.State)
	return s.Terminal() || s == replication.Paused || job.Held
}

// live runs the job until it is at its end: again after each crash, after a wait.
func (m *Manager) live(ctx context.Context, id string, lease *broker.Lease) error {
	for {
		job, revision, err := m.jobs.Read(ctx, id)
		if errors.Is(err, directory.ErrUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		if idle(job) {
			return nil
		}
		if err := pause.For(ctx, time.Until(time.Unix(0, job.RetryAt))); err != nil {
			return err
		}
		r := &run{m: m, job: proto.CloneOf(job), revision: revision, base: baseOf(job), lease: lease, log: m.log}
		if err := m.conclude(ctx, r, time.Now(), r.do(ctx)); err != nil {
			return err
		}
	}
}

// conclude makes the end of a run the job's state.
func (m *Manager) conclude(ctx context.Context, r *run, began time.Time, err error) error {
	var c *crash
	switch {
	case errors.Is(context.Cause(ctx), errRemoved):
		return m.removed(ctx, r)
	case err == nil:
		// What is left of the run goes first: whoever sees the job completed may
		// stop the pipeline, and the run that is gone on with sees that it is at its end.
		if err := r.leaveFeed(ctx); err != nil {
			return err
		}
		r.job.State, r.job.Reason, r.job.ErrorCount, r.job.Active = string(replication.Completed), "", 0, false
		r.job.Throttled = false
	case errors.As(err, &c):
		m.crashed(ctx, r, began, c)
	default:
		return err
	}
	if r.mark != nil {
		r.job.Totals = countersOf(r.before.Add(r.mark.Stats()))
	}
	if r.job.Active {
		return r.end(ctx)
	}
	return r.save(ctx)
}

// removed takes away what is left of a job whose key is gone. There may be a key of the
// same name again by now: that is another job, which waits for this one's lease.
func (m *Manager) removed(ctx context.Context, r *run) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	if !r.job.Active {
		return nil
	}
	return errors.Join(m.jobs.Forget(last, r.job.Id), r.leaveFeed(last))
}

// crashed sets what follows from a crash.
func (m *Manager) crashed(ctx context.Context, r *run, began time.Time, c *crash) {
	m.log.WarnContext(ctx, "run crashed", "run", r.job.Run, "reason", c.reason)
	if c.replaced != "" {
		r.note(ctx, startedOver(c.replaced))
	}
	if time.Since(began) > m.options.HealthThreshold {
		r.job.ErrorCount = 0
	}
	r.job.Reason, r.job.State, r.job.Throttled = c.reason, string(replication.Crashing), c.throttled
	if c.choosesNothing {
		r.note(ctx, "the source does not filter its feed; all of it is read: "+c.reason)
		r.job.UnfilteredFeed, r.job.RetryAt = true, time.Now().UnixNano()
		return
	}
	if c.permanent && m.options.FailPermanent {
		r.job.State = string(replication.Failed)
		return
	}
	delay := c.after
	if !c.lost || r.job.ErrorCount > 0 {
		delay = max(delay, m.options.Backoff(int(r.job.ErrorCount)+1))
	}
	r.job.ErrorCount++
	r.job.RetryAt = time.Now().Add(delay).UnixNano()
}
