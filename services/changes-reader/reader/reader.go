// Package reader is the service that reads sources' _changes and publishes them
// as batches of rows. A feed is read by one owner at a time, whatever the number of
// jobs that it serves (invariant 4). It speaks to sources only (invariant 3).
package reader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/endpoint"
	"millrace/pkg/pause"
	"millrace/pkg/stage"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/changes-reader/quiet"
)

// Name of the stage, in events, traces and logs.
const Name = "changes-reader"

// leaseTTL is how long a feed stays unread after its owner has died.
const leaseTTL = 5 * time.Second

// Service reads the feeds of its site. Any number of instances may run.
type Service struct {
	stage  *stage.Stage
	feeds  *directory.Feeds
	jobs   *directory.Jobs
	pool   *endpoint.Pool
	holder string
	// watch wakes readers of feeds that are closed because they were quiet for quietAfter; nil for never.
	watch      *quiet.Watch
	quietAfter time.Duration

	mu      sync.Mutex
	reading map[string]context.CancelFunc // by feed
	group   sync.WaitGroup
}

// Options say what to do with feeds in which nothing happens.
type Options struct {
	// QuietAfter is how long a live feed has to be quiet to be closed, where the server announces updates;
	// 0 for never.
	QuietAfter time.Duration
	Quiet      quiet.Options
}

// New returns the service. The holder names this process in its leases.
func New(s *stage.Stage, feeds *directory.Feeds, jobs *directory.Jobs, pool *endpoint.Pool, holder string, o Options) *Service {
	svc := &Service{stage: s, feeds: feeds, jobs: jobs, pool: pool, holder: holder, quietAfter: o.QuietAfter, reading: map[string]context.CancelFunc{}}
	if o.QuietAfter > 0 {
		o.Quiet.Log = s.Log()
		svc.watch = quiet.New(o.Quiet)
	}
	return svc
}

// Run reads the feeds that there are and those that come, until ctx ends.
func (svc *Service) Run(ctx context.Context) error {
	if svc.watch != nil {
		defer svc.watch.Wait()
	}
	defer svc.group.Wait()
	return svc.feeds.Each(ctx, func(id string, f *millracev1.Feed) {
		if f == nil {
			svc.end(id)
			return
		}
		if f.Site == svc.stage.Site() {
			svc.begin(ctx, f)
		}
	})
}

func (svc *Service) begin(ctx context.Context, f *millracev1.Feed) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if svc.reading[f.Id] != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	svc.reading[f.Id] = cancel
	svc.group.Add(1)
	go func() {
		defer svc.group.Done()
		svc.read(telemetry.WithScope(ctx, telemetry.Scope{Feed: f.Id}), f)
	}()
}

func (svc *Service) end(id string) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if cancel := svc.reading[id]; cancel != nil {
		cancel()
		delete(svc.reading, id)
	}
}

// read reads a feed whenever its lease can be had, until the feed is no more.
func (svc *Service) read(ctx context.Context, f *millracev1.Feed) {
	for ctx.Err() == nil {
		err := svc.term(ctx, f)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			<-ctx.Done() // read to the end: it stays ours until the feed is removed
			return
		case errors.Is(err, broker.ErrFenced) || errors.Is(err, context.Canceled):
			svc.stage.Log().InfoContext(ctx, "another reader has taken the feed over", "error", err)
		default:
			svc.stage.Log().WarnContext(ctx, "feed cannot be read", "error", err)
		}
		if pause.For(ctx, readAgain) != nil {
			return
		}
	}
}

func leaseName(feed string) string { return "feed." + feed }

// term is one ownership of the feed: the lease's revision is its epoch.
func (svc *Service) term(ctx context.Context, f *millracev1.Feed) error {
	lease, err := svc.stage.Broker().WaitLease(ctx, leaseName(f.Id), svc.holder, leaseTTL)
	if err != nil {
		return fmt.Errorf("wait for the feed's lease: %w", err)
	}
	defer svc.release(ctx, lease)
	owned, cancel := lease.Context(ctx)
	defer cancel()
	return svc.own(owned, f, lease.Revision())
}

// release lets another reader have the feed at once; without it the lease expires.
func (svc *Service) release(ctx context.Context, lease *broker.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := lease.Release(ctx); err != nil {
		svc.stage.Log().DebugContext(ctx, "lease was not released and expires", "error", err)
	}
}
