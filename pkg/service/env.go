package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nuid"

	"millrace/pkg/broker"
	"millrace/pkg/couch"
	"millrace/pkg/endpoint"
	"millrace/pkg/stage"
	"millrace/pkg/telemetry"
)

// Env is what a service runs on. Services in one process share one.
type Env struct {
	Broker    *broker.Broker
	Telemetry *telemetry.Telemetry
	Log       *slog.Logger
	// Site that the services work at.
	Site string
	// Holder names this process in leases: no two processes have the same.
	Holder string
	// PerJob is how many batches of one job a stage works on at once, unless the job says
	// otherwise.
	PerJob int
	// AttachmentsCapacity is how many bytes the contents of large attachments may have
	// together; 0 for the default.
	AttachmentsCapacity int64
	// BodiesIndex is how many bytes of memory the index of what stands in BODIES takes; 0 for the
	// default.
	BodiesIndex int64
	// BodiesCache is how many bytes of memory the messages of BODIES take that were read last; 0 for the
	// default.
	BodiesCache int64
	// QuietAfter and QuietFeeds say when feeds are closed because nothing is in them: [Config].
	QuietAfter time.Duration
	QuietFeeds int
	// Pool opens the site's databases.
	Pool *endpoint.Pool

	bucket func(site string) *endpoint.Store
}

// DefaultPerJob is CouchDB's worker_processes.
const DefaultPerJob = 4

// NewLogger returns the program's logger, which writes to w.
func NewLogger(c Config, w io.Writer) (*slog.Logger, error) {
	format, err := telemetry.ParseFormat(c.LogFormat)
	if err != nil {
		return nil, fmt.Errorf("--log-format: %w", err)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level: expected debug, info, warn or error, got %q", c.LogLevel)
	}
	return telemetry.NewLogger(w, format, level), nil
}

// Open connects to the broker: the embedded one if it is given, and otherwise the
// one that the configuration names. It waits for the broker until ctx ends.
func Open(ctx context.Context, c Config, program string, embedded *broker.Embedded, log *slog.Logger) (*Env, error) {
	sealer, err := endpoint.NewSealer(c.SealKey)
	if err != nil {
		return nil, fmt.Errorf("MILLRACE_SEAL_KEY: %w", err)
	}
	secrets, err := c.Secrets()
	if err != nil {
		return nil, err
	}
	t, err := telemetry.Start(ctx, telemetry.Options{Service: program, Version: Version(), Logger: log})
	if err != nil {
		return nil, err
	}
	o := c.brokerOptions()
	o.Embedded, o.Name, o.Logger = embedded, program, log
	b, err := broker.Connect(ctx, o)
	if err != nil {
		return nil, errors.Join(err, t.Shutdown(context.WithoutCancel(ctx)))
	}
	bucket, err := b.JetStream().KeyValue(ctx, b.Buckets().Endpoints)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open bucket of endpoints: %w", err), b.Close(ctx), t.Shutdown(ctx))
	}
	if sealer == nil {
		log.Info("MILLRACE_SEAL_KEY is not set: credentials are stored in the broker without encryption")
	}
	host, _ := os.Hostname() // only for people
	e := &Env{
		Broker: b, Telemetry: t, Log: log, Site: c.Site, PerJob: DefaultPerJob, AttachmentsCapacity: int64(c.AttachmentsCapacity),
		BodiesIndex: int64(c.BodiesIndex), BodiesCache: int64(c.BodiesCache),
		QuietAfter: c.QuietAfter, QuietFeeds: c.QuietFeeds,
		Holder: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), nuid.Next()),
		bucket: func(site string) *endpoint.Store { return endpoint.NewStore(bucket, site, sealer) },
	}
	e.Pool = endpoint.NewPool(e.bucket(c.Site), secrets, couch.Options{
		UserAgent: "Millrace/" + Version(), Transport: t.Transport, Repeating: telemetry.WithRetry,
	})
	return e, nil
}

// Endpoints is the store of a site's endpoints.
func (e *Env) Endpoints(site string) *endpoint.Store { return e.bucket(site) }

// Stage returns a stage on this environment.
func (e *Env) Stage(name string) (*stage.Stage, error) {
	return stage.New(stage.Options{Name: name, Site: e.Site, Broker: e.Broker, Telemetry: e.Telemetry, Log: e.Log, PerJob: e.PerJob})
}

// Close delivers what is on its way and disconnects.
func (e *Env) Close(ctx context.Context) error {
	e.Pool.Close()
	return errors.Join(e.Broker.Close(ctx), e.Telemetry.Shutdown(ctx))
}
