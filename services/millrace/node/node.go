// Package node runs the whole pipeline in one process: every service on the same
// code, the same subjects and, unless it is told of another broker, an embedded one.
package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/endpoint"
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
	// PerJob is how many batches of one job each stage works on at once; 0 means 4,
	// CouchDB's worker_processes.
	PerJob int
	// Replicator says how jobs are tried again.
	Replicator replicator.Options
	// UUID of the server, part of every replication id; empty for the one in
	// UUIDFile, which is made if it is not there.
	UUID, UUIDFile string
	Log            *slog.Logger
}

// Node is a running pipeline.
type Node struct {
	env      *service.Env
	embedded *broker.Embedded
	registry *replicator.Registry
	jobs     *directory.Jobs
	log      *slog.Logger

	stopJobs, stopStages context.CancelFunc
	jobsGroup, stages    sync.WaitGroup
}

// closePatience is how long a node takes at most to disconnect.
const closePatience = 10 * time.Second

// Start starts the pipeline. It fails when the broker cannot be started or, until ctx
// ends, reached.
func Start(ctx context.Context, o Options) (*Node, error) {
	uuid, err := serverUUID(o.UUID, o.UUIDFile)
	if err != nil {
		return nil, err
	}
	n := &Node{log: o.Log}
	if o.NATS == "" {
		n.embedded, err = broker.StartEmbedded(ctx, broker.EmbeddedOptions{DataDir: o.DataDir, Listen: o.Listen, Logger: o.Log})
		if err != nil {
			return nil, err
		}
	}
	n.env, err = service.Open(ctx, o.Config, "millrace", n.embedded, o.Log)
	if err != nil {
		return nil, errors.Join(err, n.closeBroker())
	}
	if o.PerJob > 0 {
		n.env.PerJob = o.PerJob
	}
	if err := n.begin(ctx, uuid, o.Replicator); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

func (n *Node) begin(ctx context.Context, uuid string, o replicator.Options) (err error) {
	if n.env.Broker.Private() {
		// Whoever held a lease was in this place, and is no more.
		if err := n.env.Broker.ResetLeases(ctx); err != nil {
			return err
		}
	}
	if n.jobs, err = directory.OpenJobs(ctx, n.env.Broker); err != nil {
		return err
	}
	n.registry = replicator.NewRegistry(n.jobs, func(site string) *endpoint.Store { return n.env.Endpoints(site) }, uuid)
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
	return nil
}

func (n *Node) run(ctx context.Context, group *sync.WaitGroup, name string, serve service.Service) {
	group.Go(func() {
		service.Supervise(ctx, n.log, name, func(ctx context.Context) error { return serve(ctx, n.env) })
	})
}

// Registry makes jobs.
func (n *Node) Registry() *replicator.Registry { return n.registry }

// Jobs is the directory of jobs.
func (n *Node) Jobs() *directory.Jobs { return n.jobs }

// Broker is the node's connection to the broker.
func (n *Node) Broker() *broker.Broker { return n.env.Broker }

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
	if n.stopJobs != nil {
		n.stopJobs()
		n.jobsGroup.Wait()
		n.stopStages()
		n.stages.Wait()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return errors.Join(n.env.Close(ctx), n.closeBroker())
}

func (n *Node) closeBroker() error {
	if n.embedded == nil {
		return nil
	}
	return n.embedded.Close()
}

// serverUUID returns the given uuid, or the one in the file, or a new one, which is then
// in the file. It must not come from the broker, whose disk may be lost: the checkpoints
// at the databases are found by it.
func serverUUID(given, file string) (string, error) {
	if given != "" {
		return given, nil
	}
	there, err := os.ReadFile(file)
	if err == nil {
		if uuid := strings.TrimSpace(string(there)); uuid != "" {
			return uuid, nil
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the server's uuid: %w", err)
	}
	fresh := make([]byte, 16)
	rand.Read(fresh) //nolint:errcheck // never fails
	uuid := hex.EncodeToString(fresh)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("keep the server's uuid: %w", err)
	}
	if err := os.WriteFile(file, []byte(uuid+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the server's uuid: %w", err)
	}
	return uuid, nil
}
