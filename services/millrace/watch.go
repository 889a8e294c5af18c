package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

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
}

func watch(ctx context.Context, n *node.Client) (*watcher, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{
		jobs: make(chan *millracev1.Job, 16), status: make(chan *nats.Msg, 64),
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
	defer out.done()
	id, crashes := submitted.Id, submitted.ErrorCount
	for {
		select {
		case <-ctx.Done():
			return out.interrupted()
		case err := <-w.failed:
			return failedError(err)
		case msg := <-w.status:
			var s millracev1.Status
			if proto.Unmarshal(msg.Data, &s) != nil || s.Job != id {
				continue
			}
			out.status(&s)
			if w.enough != nil && w.enough(&s) {
				return nil
			}
		case job := <-w.jobs:
			if job.Id != id || job.StartTime < submitted.StartTime {
				continue
			}
			out.job(job)
			crashes = min(crashes, job.ErrorCount)
			switch replication.State(job.State) {
			case replication.Completed:
				w.lastStatus(out, id)
				return out.completed(job)
			case replication.Failed:
				return failedError(fmt.Errorf("replication failed: %s", job.Reason))
			case replication.Crashing:
				if n := int(job.ErrorCount - crashes); retries > 0 && n >= retries {
					return failedError(fmt.Errorf("replication crashed %d times in a row, the last time: %s", n, job.Reason))
				}
			}
		}
	}
}

// lastStatus shows the statuses that have come before the job's end.
func (w *watcher) lastStatus(out *display, id string) {
	for {
		select {
		case msg := <-w.status:
			var s millracev1.Status
			if proto.Unmarshal(msg.Data, &s) == nil && s.Job == id {
				out.status(&s)
			}
		default:
			return
		}
	}
}
