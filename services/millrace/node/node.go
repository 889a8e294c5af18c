// Package node runs the whole pipeline in one process: every service on the same
// code, the same subjects and, unless it is told of another broker, an embedded one.
package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"millrace/pkg/broker"
	"millrace/pkg/replication"
	"millrace/pkg/service"
	writer "millrace/services/bulk-writer/writer"
	reader "millrace/services/changes-reader/reader"
	fetcher "millrace/services/doc-fetcher/fetcher"
	"millrace/services/replicator/replicator"
	revsdiff "millrace/services/revs-diff/revsdiff"
	"millrace/services/selector/selector"
)

// Options say what a node runs on.
type Options struct {
	service.Config
	// DataDir holds the embedded broker's streams. Unused with a NATS URL.
	DataDir string
	// Listen is where the embedded broker takes connections from other processes;
	// empty for nowhere.
	Listen string
	// PerJob is how many batches of a job each stage works on at once where the job does not
	// say; no job gets more than twice as many. 0 means 4, CouchDB's worker_processes.
	PerJob int
	// Only are the replications that an embedded broker is for; others that were left there by
	// who was interrupted are paused. None: all that are there go on.
	Only []replication.Job
	// Replicator says how jobs are tried again.
	Replicator replicator.Options
	// UUID of the server, part of every replication id; empty for the one in
	// UUIDFile, which is made if it is not there.
	UUID, UUIDFile string
	Log            *slog.Logger
}

// Node is a running pipeline, and a client of it.
type Node struct {
	*Client
	embedded *broker.Embedded
	log      *slog.Logger

	stopJobs, stopStages context.CancelFunc
	jobsGroup, stages    sync.WaitGroup
}

// Start starts the pipeline. It fails when the broker cannot be started or, until ctx
// ends, reached.
func Start(ctx context.Context, o Options) (*Node, error) {
	n := &Node{log: o.Log}
	var err error
	if o.NATS == "" {
		n.embedded, err = broker.StartEmbedded(ctx, broker.EmbeddedOptions{DataDir: o.DataDir, Listen: o.Listen, Door: true, Logger: o.Log})
		if err != nil {
			return nil, err
		}
	}
	// One batch waits for each that is worked on, so that no worker does. (A job that has more
	// workers has fewer batches waiting.)
	o.Config.PerSubject = 2 * o.PerJob
	if n.Client, err = connect(ctx, o, n.embedded); err != nil {
		return nil, errors.Join(err, n.closeBroker())
	}
	if o.PerJob > 0 {
		n.env.PerJob = o.PerJob
	}
	if n.env.Broker.Private() {
		// Whoever held a lease was in this place, and is no more.
		if err := n.env.Broker.ResetLeases(ctx); err != nil {
			return nil, errors.Join(err, n.Client.Close(), n.closeBroker())
		}
	}
	if len(o.Only) > 0 {
		if err := n.registry.SetAside(ctx, o.Only); err != nil {
			return nil, errors.Join(err, n.Client.Close(), n.closeBroker())
		}
	}
	n.begin(ctx, o.Replicator)
	return n, nil
}

func (n *Node) begin(ctx context.Context, o replicator.Options) {
	stages, stopStages := context.WithCancel(context.WithoutCancel(ctx))
	jobs, stopJobs := context.WithCancel(stages)
	n.stopStages, n.stopJobs = stopStages, stopJobs
	for name, serve := range map[string]service.Service{
		reader.Name: reader.Serve, selector.Name: selector.Serve, revsdiff.Name: revsdiff.Serve,
		fetcher.Name: fetcher.Serve, writer.Name: writer.Serve,
	} {
		n.run(stages, &n.stages, name, serve)
	}
	n.run(jobs, &n.jobsGroup, replicator.Name, replicator.ServeWith(o))
}

func (n *Node) run(ctx context.Context, group *sync.WaitGroup, name string, serve service.Service) {
	group.Go(func() {
		service.Supervise(ctx, n.log, name, func(ctx context.Context) error { return service.Guarded(serve)(ctx, n.env) })
	})
}

// ClientURL is where other processes reach the embedded broker; empty if it has no port.
func (n *Node) ClientURL() string {
	if n.embedded == nil {
		return ""
	}
	return n.embedded.ClientURL()
}

// Stop stops the pipeline: first the jobs, whose last checkpoints need the stages, then
// the stages, then the broker.
func (n *Node) Stop() error {
	if n.stopStages != nil {
		n.stopJobs()
		n.jobsGroup.Wait()
		n.stopStages()
		n.stages.Wait()
	}
	return errors.Join(n.Client.Close(), n.closeBroker())
}

func (n *Node) closeBroker() error {
	if n.embedded == nil {
		return nil
	}
	return n.embedded.Close()
}
