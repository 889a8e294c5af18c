// Package replicator is the control side of the pipeline: it owns jobs, begins and
// ends their runs, computes their watermarks and has their checkpoints written. It
// speaks to no database itself (invariant 3).
package replicator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/control"
	"millrace/pkg/directory"
	"millrace/pkg/replication"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// Name of the service, in events, traces and logs.
const Name = "replicator"

// Options say how jobs are owned and tried again. The zero value of a field means
// its default.
type Options struct {
	// Holder names this process in its leases. Required.
	Holder string
	// LeaseTTL is how long a job stands still after its owner has died. Default 5 s.
	LeaseTTL time.Duration
	// Backoff is the wait after so many consecutive crashes. Default CouchDB's.
	Backoff func(crashes int) time.Duration
	// FailPermanent makes a job fail for good on an error that no attempt can mend
	// (credentials, a database that is not there), as suits a command that somebody
	// waits for. CouchDB's jobs go on trying.
	FailPermanent bool
	// HealthThreshold is how long a run must last for its crash not to count with
	// those before. Default CouchDB's, 120 s.
	HealthThreshold time.Duration
	// StallInterval is how often a run is looked after that gets no further.
	// Default 5 s.
	StallInterval time.Duration
	// Log gets what operators should know.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.LeaseTTL == 0 {
		o.LeaseTTL = 5 * time.Second
	}
	if o.Backoff == nil {
		o.Backoff = replication.Backoff
	}
	if o.HealthThreshold == 0 {
		o.HealthThreshold = 120 * time.Second
	}
	if o.StallInterval == 0 {
		o.StallInterval = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Manager owns jobs. Any number of managers may run; each job has one owner.
type Manager struct {
	broker    *broker.Broker
	jobs      *directory.Jobs
	feeds     *directory.Feeds
	control   *control.Client
	publisher *broker.Publisher
	sweeper   *sweeper
	sharing   *sharing
	options   Options
	log       *slog.Logger

	// What the stages say, read once for all runs.
	routed *tap[*routing]
	done   *tap[*millracev1.Done]
	events *tap[*millracev1.Event]

	mu    sync.Mutex
	owned map[string]*owner
	group sync.WaitGroup
}

// owner is the goroutine that owns a job, or waits to.
type owner struct {
	cancel context.CancelCauseFunc
	// again: the job was written since the owning last began, so that there may be
	// something to do although it has just ended.
	again bool
	// run is the newest that was heard of.
	run uint64
}

// New returns a manager; [Manager.Run] starts it.
func New(b *broker.Broker, jobs *directory.Jobs, feeds *directory.Feeds, o Options) *Manager {
	o = o.withDefaults()
	n, s := b.Streams(), b.Subjects()
	return &Manager{
		sharing: newSharing(b, feeds, jobs),
		routed:  newTap(b, n.Routed, s.Routed(broker.Any), decodeRouting),
		done:    newTap(b, n.Done, s.Done(broker.Any), decodeDone),
		events:  newTap(b, n.Events, s.Events(broker.Any), decodeEvent),
		broker:  b, jobs: jobs, feeds: feeds, control: control.NewClient(b),
		publisher: broker.NewPublisher(b, broker.PublisherOptions{}),
		sweeper:   newSweeper(b, jobs, feeds, o.Log.With("service", Name)),
		options:   o, log: o.Log.With("service", Name), owned: map[string]*owner{},
	}
}

// Run owns the jobs that there are and those that come, until ctx ends; then each
// run writes its last checkpoint. The stages must be running until Run returns.
func (m *Manager) Run(ctx context.Context) error {
	defer m.publisher.Close() //nolint:errcheck // nothing is on its way any more
	defer m.group.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.group.Go(func() { m.sweeper.run(ctx) })
	m.group.Go(func() { m.routed.run(ctx) })
	m.group.Go(func() { m.done.run(ctx) })
	m.group.Go(func() { m.events.run(ctx) })
	return m.jobs.Watch(ctx, func(id string, job *millracev1.Job) {
		switch {
		case job == nil:
			m.drop(id, errRemoved)
			m.sweeper.want()
		case !idle(job):
			m.take(ctx, job)
		}
	})
}

var errRemoved = errors.New("the job was removed")

func (m *Manager) take(ctx context.Context, job *millracev1.Job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := job.Id
	if o := m.owned[id]; o != nil {
		if job.Run >= o.run {
			o.run, o.again = job.Run, true
			return
		}
		// Runs go up only: it was removed and made again, and the bucket does not keep
		// what was between two looks of the watch.
		o.cancel(errRemoved)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	o := &owner{cancel: cancel, run: job.Run}
	m.owned[id] = o
	m.group.Go(func() {
		defer cancel(nil)
		for again := true; again; again = m.again(ctx, id, o) {
			m.own(ctx, id)
		}
	})
}

// again reports whether the job has to be owned once more, and forgets its owner if not.
func (m *Manager) again(ctx context.Context, id string, o *owner) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owned[id] != o {
		return false // it was removed
	}
	if o.again && ctx.Err() == nil {
		o.again = false
		return true
	}
	delete(m.owned, id)
	return false
}

func (m *Manager) drop(id string, cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o := m.owned[id]; o != nil {
		o.cancel(cause)
		delete(m.owned, id)
	}
}

// publish publishes a message of the pipeline and returns when the broker has it.
func (m *Manager) publish(ctx context.Context, subject, id string, p proto.Message) error {
	msg, err := stage.NewMessage(ctx, id, p)
	if err != nil {
		return err
	}
	if err := m.publisher.Publish(subject, msg); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}
