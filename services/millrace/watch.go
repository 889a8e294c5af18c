package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"millrace/pkg/broker"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/millrace/node"
)

// watcher sees how jobs go.
type watcher struct {
	jobs   chan *millracev1.Job
	status chan *nats.Msg
	sub    *nats.Subscription
	cancel context.CancelFunc
	group  sync.WaitGroup
	failed chan error
	// enough, if it is set, ends until at the first status that it is true of.
	enough func(*millracev1.Status) bool
	// changed, if it is set, returns the job that goes on where a filter function has changed.
	changed func(ctx context.Context, c *course, over *millracev1.Job) (*millracev1.Job, error)
}

// pendingStatus is how many words on how jobs go may wait to be shown; what comes when there are more is
// lost, and said again by the next.
const pendingStatus = 8192

func watch(ctx context.Context, n *node.Client) (*watcher, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{
		jobs: make(chan *millracev1.Job, 16), status: make(chan *nats.Msg, pendingStatus),
		failed: make(chan error, 2), cancel: cancel,
	}
	b := n.Broker()
	birth, err := b.Birth(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch the job: %w", err)
	}
	sub, err := b.Conn().ChanSubscribe(b.Subjects().Status(broker.Any), w.status)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch the job: %w", err)
	}
	w.sub = sub
	w.group.Go(func() {
		err := n.Jobs().Watch(ctx, func(_ string, job *millracev1.Job) {
			if job == nil {
				return
			}
			select {
			case w.jobs <- job:
			case <-ctx.Done():
			}
		})
		if err != nil {
			w.failed <- err
		}
	})
	w.group.Go(func() {
		if err := b.AwaitLoss(ctx, birth); err != nil {
			w.failed <- err
		}
	})
	return w, nil
}

func (w *watcher) stop() {
	w.cancel()
	w.sub.Unsubscribe() //nolint:errcheck // the connection is closed next
	w.group.Wait()
}

// until shows how the job goes until it is at its end or has got far enough, has
// crashed too often, or ctx ends. The job is as it was submitted: how it went before,
// which is what a watch says first, is neither its end nor a crash of this time.
func (w *watcher) until(ctx context.Context, out *display, submitted *millracev1.Job, retries int) error {
	one := alone(out, submitted)
	if err := w.follow(ctx, one, retries); err != nil {
		return err
	}
	return one.verdict()
}

// follow shows how jobs go until all are at their ends, or ctx ends. Its errors are about the
// pipeline, not about a job.
func (w *watcher) follow(ctx context.Context, all *board, retries int) error {
	defer all.done()
	for {
		select {
		case <-ctx.Done():
			all.interrupted = true
			return nil
		case err := <-w.failed:
			return failedError(err)
		case msg := <-w.status:
			if s := all.status(msg.Data); s != nil && w.enough != nil && w.enough(s) {
				return nil
			}
		case job := <-w.jobs:
			c := all.byID[job.Id]
			if c == nil || job.StartTime < c.submitted.StartTime {
				continue
			}
			if job.State == string(replication.Completed) {
				w.lastStatus(all)
			}
			w.take(ctx, all, c, job, retries)
			if all.over() {
				return nil
			}
		}
	}
}

// take takes in a job's state.
func (w *watcher) take(ctx context.Context, all *board, c *course, job *millracev1.Job, retries int) {
	if w.changed == nil || c.over || !filterChanged(job) {
		c.job(job, retries)
		return
	}
	next, err := w.changed(ctx, c, job)
	switch {
	case ctx.Err() != nil: // the loop says so
	case err != nil:
		c.end(failedError(err))
	case next.Id == job.Id && next.StartTime == job.StartTime: // it tries again by itself
		c.job(job, retries)
	default:
		all.replace(c, next)
	}
}

// lastStatus takes in what was published before the job completed.
func (w *watcher) lastStatus(all *board) {
	for {
		select {
		case msg := <-w.status:
			all.status(msg.Data)
		default:
			return
		}
	}
}
