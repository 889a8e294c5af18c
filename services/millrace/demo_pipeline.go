package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/millrace/node"
	"millrace/services/replicator/replicator"
)

// demoRetries is how often in a row the replication may crash.
const demoRetries = 10

// pipeline is the whole of Millrace, with the demo's replication in it.
type pipeline struct {
	cmd     *cobra.Command
	node    *node.Node
	watcher *watcher
	display *display
	job     *millracev1.Job

	unwatch  func()
	watching sync.WaitGroup
	// crashed gets the error of a replication that came to its end, which it should not.
	crashed chan error
}

func startPipeline(cmd *cobra.Command, d *demoFlags, streams string, log *slog.Logger) (*pipeline, error) {
	n, err := node.Start(cmd.Context(), node.Options{
		Config: d.config, DataDir: streams, PerJob: d.workers, UUIDFile: filepath.Join(streams, "uuid"), Log: log,
		Replicator: replicator.Options{FailPermanent: true, Backoff: impatient, LeaseTTL: 5 * time.Second},
	})
	if err != nil {
		return nil, err
	}
	return &pipeline{cmd: cmd, node: n, unwatch: func() {}, crashed: make(chan error, 1)}, nil
}

// begin submits the replication.
func (p *pipeline) begin(of *ponds, workers int) (err error) {
	spec, err := demoSpec(of, workers)
	if err != nil {
		return err
	}
	if p.watcher, err = watch(p.cmd.Context(), p.node.Client); err != nil {
		return err
	}
	if p.job, err = p.node.Registry().Submit(p.cmd.Context(), spec); err != nil {
		return err
	}
	p.display = newDisplay(p.cmd, false, false, p.job)
	return nil
}

// demoSpec is the replication as the document that CouchDB's _replicator takes.
func demoSpec(of *ponds, workers int) (replication.Job, error) {
	doc, err := json.Marshal(map[string]any{
		"source": of.source.String(), "target": of.target.String(), "create_target": true, "continuous": true,
		"checkpoint_interval": checkpointInterval.Milliseconds(), "worker_processes": workers,
	})
	if err != nil {
		return replication.Job{}, err
	}
	spec, err := replication.ParseSpec(doc)
	if err != nil {
		return replication.Job{}, err
	}
	return spec.Jobs()[0], nil
}

// catchUp shows progress until the target has what the source had when the
// replication began, and returns the counters of that. From then on only what goes
// wrong is shown.
func (p *pipeline) catchUp() (*millracev1.Counters, error) {
	ctx := p.cmd.Context()
	p.watcher.enough = caughtUp
	if err := p.watcher.until(ctx, p.display, p.job, demoRetries); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	counters := p.display.last.Session
	p.watcher.enough = nil
	p.display.settle()
	ctx, p.unwatch = context.WithCancel(ctx)
	p.watching.Go(func() {
		if err := p.watcher.until(ctx, p.display, p.job, demoRetries); err != nil {
			p.crashed <- err
		}
	})
	return counters, nil
}

// caughtUp reports whether everything that was there to read, and everything that
// was read, is at or below the watermark: durable at the target (invariant 1).
func caughtUp(s *millracev1.Status) bool {
	return s.Total >= 0 && s.Rows >= uint64(s.Total) && s.Ordinal >= s.Head
}

// failure waits until the replication has failed for good, or ctx ends.
func (p *pipeline) failure(ctx context.Context) error {
	select {
	case err := <-p.crashed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (p *pipeline) stop() error {
	p.unwatch()
	p.watching.Wait()
	if p.watcher != nil {
		p.watcher.stop()
	}
	return p.node.Stop()
}
