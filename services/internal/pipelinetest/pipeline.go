// Package pipelinetest runs the pipeline in a test: a real broker, the services that the
// test chooses, each with a connection of its own so that it can be killed, and databases that
// can be made to fail. What stands in the broker can be looked at and taken away.
package pipelinetest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/control"
	"millrace/pkg/directory"
	"millrace/pkg/service"
	"millrace/services/bulk-writer/writer"
	"millrace/services/changes-reader/reader"
	"millrace/services/doc-fetcher/fetcher"
	"millrace/services/replicator/replicator"
	"millrace/services/revs-diff/revsdiff"
	"millrace/services/selector/selector"
)

// Patience bounds every wait: nothing is asserted about time, but what never comes must
// not hang.
const Patience = time.Minute

// SourceControl and TargetControl are what the changes-reader and the bulk-writer answer about
// their databases, without their stages: a run can begin, and its batches stay where they are.
const (
	SourceControl = "source-control"
	TargetControl = "target-control"
)

// Stages are the services between the databases.
func Stages() []string {
	return []string{reader.Name, selector.Name, revsdiff.Name, fetcher.Name, writer.Name}
}

// All are all services of the pipeline.
func All() []string { return append(Stages(), replicator.Name) }

// Without are all services but some, with what answers about both databases.
func Without(names ...string) []string {
	left := []string{SourceControl, TargetControl}
	for _, name := range All() {
		keep := true
		for _, n := range names {
			keep = keep && n != name
		}
		if keep {
			left = append(left, name)
		}
	}
	return left
}

// Options say how a pipeline runs. The zero value runs nothing but the broker.
type Options struct {
	// Services to start with, by name.
	Services []string
	// SealKey encrypts credentials in the broker.
	SealKey string
	// AnySecret lets jobs refer to the test's files.
	AnySecret bool
	// FailPermanent and Backoff are the replicator's. Backoff is by default a few
	// milliseconds.
	FailPermanent bool
	Backoff       func(crashes int) time.Duration
	// LeaseTTL of jobs; by default short, but not so that a loaded machine loses it.
	LeaseTTL time.Duration
	// Log gets the services' log lines, in addition to those of a verbose test.
	Log io.Writer
	// PerJob is how many batches of one job each stage works on; 0 for the default.
	PerJob int
	// AttachmentsCapacity is what large attachments may take together; 0 for the default.
	AttachmentsCapacity service.Bytes
	// PerSubject is how many messages of a job each queue takes; 0 for the default.
	PerSubject int
	// BodiesCapacity is what BODIES takes at most; 0 for the default.
	BodiesCapacity service.Bytes
	// Reader says when quiet feeds are closed; by default never.
	Reader reader.Options
}

// Pipeline is a running pipeline and a client of it.
type Pipeline struct {
	t        *testing.T
	options  Options
	config   service.Config
	log      *slog.Logger
	embedded *broker.Embedded
	env      *service.Env // the client's own
	registry *replicator.Registry
	jobs     *directory.Jobs
	feeds    *directory.Feeds
}

// Start starts a pipeline, which ends with the test.
func Start(t *testing.T, o Options) *Pipeline {
	t.Helper()
	if o.Backoff == nil {
		o.Backoff = func(int) time.Duration { return 5 * time.Millisecond }
	}
	if o.LeaseTTL == 0 {
		o.LeaseTTL = 3 * time.Second
	}
	p := &Pipeline{t: t, options: o, log: logger(o.Log)}
	p.config = service.Config{PerSubject: o.PerSubject, AttachmentsCapacity: o.AttachmentsCapacity, BodiesCapacity: o.BodiesCapacity, Namespace: "millrace", Site: service.DefaultSite, SealKey: o.SealKey, AnySecret: o.AnySecret, Replicas: 1}
	var err error
	p.embedded, err = broker.StartEmbedded(p.Context(), broker.EmbeddedOptions{DataDir: t.TempDir(), Logger: p.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.embedded.Close(); err != nil {
			t.Error(err)
		}
	})
	p.env = p.open()
	t.Cleanup(func() { p.close(p.env) })
	if p.jobs, err = directory.OpenJobs(t.Context(), p.env.Broker); err != nil {
		t.Fatal(err)
	}
	if p.feeds, err = directory.OpenFeeds(t.Context(), p.env.Broker); err != nil {
		t.Fatal(err)
	}
	p.registry = replicator.NewRegistry(p.jobs, p.env.Endpoints, control.NewClient(p.env.Broker), "0123456789abcdef0123456789abcdef")
	for _, name := range o.Services {
		p.Run(name)
	}
	return p
}

func logger(also io.Writer) *slog.Logger {
	var w []io.Writer
	if testing.Verbose() {
		w = append(w, os.Stderr)
	}
	if also != nil {
		w = append(w, also)
	}
	if len(w) == 0 {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(io.MultiWriter(w...), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Context ends with the test, or when it has waited long enough.
func (p *Pipeline) Context() context.Context {
	ctx, cancel := context.WithTimeout(p.t.Context(), Patience)
	p.t.Cleanup(cancel)
	return ctx
}

// Broker is the test's own connection.
func (p *Pipeline) Broker() *broker.Broker { return p.env.Broker }

// Env is the test's own environment.
func (p *Pipeline) Env() *service.Env { return p.env }

// Jobs and Feeds are the directories, as the test sees them.
func (p *Pipeline) Jobs() *directory.Jobs { return p.jobs }

// Feeds is the directory of feeds.
func (p *Pipeline) Feeds() *directory.Feeds { return p.feeds }

func (p *Pipeline) open() *service.Env {
	p.t.Helper()
	env, err := service.Open(p.Context(), p.config, "test", p.embedded, p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.options.PerJob > 0 {
		env.PerJob = p.options.PerJob
	}
	return env
}

func (p *Pipeline) close(env *service.Env) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := env.Close(ctx); err != nil && !errors.Is(err, broker.ErrClosed) {
		p.t.Log("disconnect:", err)
	}
}

// Process is one running instance of a service.
type Process struct {
	p    *Pipeline
	env  *service.Env
	stop context.CancelFunc
	done chan struct{}
	over bool
}

// Run starts an instance of a service. Stop, Kill or the end of the test end it.
func (p *Pipeline) Run(name string) *Process {
	p.t.Helper()
	serve, known := p.services()[name]
	if !known {
		p.t.Fatalf("there is no service %q", name)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(p.t.Context()))
	i := &Process{p: p, env: p.open(), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(i.done)
		service.Supervise(ctx, p.log, name, func(ctx context.Context) error { return serve(ctx, i.env) })
	}()
	p.t.Cleanup(i.Stop)
	return i
}

// Stop ends the instance in order and waits for it.
func (i *Process) Stop() {
	if i.over {
		return
	}
	i.over = true
	i.stop()
	<-i.done
	i.p.close(i.env)
}

// Kill ends the instance without giving it the time to say anything: nothing reaches the
// broker any more.
func (i *Process) Kill() {
	if i.over {
		return
	}
	i.over = true
	i.env.Broker.Conn().Close()
	i.stop()
	<-i.done
	i.p.close(i.env)
}

func (p *Pipeline) services() map[string]service.Service {
	return map[string]service.Service{
		reader.Name: reader.ServeWith(p.options.Reader), selector.Name: selector.Serve, revsdiff.Name: revsdiff.Serve,
		fetcher.Name: fetcher.Serve, writer.Name: writer.Serve,
		replicator.Name: replicator.ServeWith(replicator.Options{
			LeaseTTL: p.options.LeaseTTL, FailPermanent: p.options.FailPermanent,
			Backoff: p.options.Backoff, StallInterval: 50 * time.Millisecond,
		}),
		SourceControl: databases(control.Source), TargetControl: databases(control.Target),
	}
}

func databases(side control.Side) service.Service {
	return func(ctx context.Context, env *service.Env) error {
		return control.NewServer(env.Broker, env.Pool, side, env.Site, env.Log).Run(ctx)
	}
}

// Received is how many bytes the process has received from the broker.
func (i *Process) Received() uint64 { return i.env.Broker.Conn().Stats().InBytes }
