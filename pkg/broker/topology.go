package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Limits bounds the streams. The zero value of a field means its default.
type Limits struct {
	// PerSubject is how many messages a job may have at a stage, those being worked on
	// included; publishers wait there. 0 leaves what there is as it is: programs with
	// different needs share a broker. New streams then get 8, two for each of the four
	// batches that a stage works on: more would only be further ahead of the slower database.
	PerSubject int
	// ChangesBytes and ChangesAge bound the logs of all feeds together; a job
	// further behind reads its source again. Defaults 1 GiB and 24 hours.
	ChangesBytes int64
	ChangesAge   time.Duration
	// BodiesBytes and BodiesAge bound the document bodies; what is older is
	// fetched again when somebody still wants it. 0 leaves what there is as it is, as with
	// PerSubject. A new stream then gets 1 GiB and 1 hour.
	BodiesBytes int64
	BodiesAge   time.Duration
	// EventsAge is how long events are kept. Default 24 hours.
	EventsAge time.Duration
	// Failures and FailuresBytes bound the records of rejected documents of all jobs
	// together, oldest dropped first. Defaults 500,000, for which the server needs 120 MB of
	// memory, and 512 MiB.
	Failures      int64
	FailuresBytes int64
	// RefusedBytes bounds the documents that are kept beside those records, oldest
	// dropped first. Default 256 MiB.
	RefusedBytes int64
	// ClaimsBytes and ClaimsAge bound the contents of large messages. Defaults
	// 2 GiB and 48 hours; the age is never below that of a stream whose messages
	// refer to them.
	ClaimsBytes int64
	ClaimsAge   time.Duration
	// AttachmentsAge is how long the contents of large attachments are kept at most. How
	// much there may be of them is not the stream's business but that of package content.
	// Default 48 hours.
	AttachmentsAge time.Duration
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	// duplicateWindow is how long the broker remembers message ids.
	duplicateWindow = 2 * time.Minute
	// defaultPerSubject is what a new stream gets for [Limits].PerSubject 0.
	defaultPerSubject = 8
	// markerTTL is how long the trace of an expired or deleted key stays, for
	// watchers that were away.
	markerTTL = time.Hour
)

func (l Limits) withDefaults() Limits {
	l.ChangesBytes = orDefault(l.ChangesBytes, gib)
	l.ChangesAge = orDefault(l.ChangesAge, 24*time.Hour)
	l.BodiesBytes = orDefault(l.BodiesBytes, gib)
	l.BodiesAge = orDefault(l.BodiesAge, time.Hour)
	l.EventsAge = orDefault(l.EventsAge, 24*time.Hour)
	l.Failures = orDefault(l.Failures, 500_000)
	l.FailuresBytes = orDefault(l.FailuresBytes, 512*mib)
	l.RefusedBytes = orDefault(l.RefusedBytes, 256*mib)
	l.ClaimsBytes = orDefault(l.ClaimsBytes, 2*gib)
	l.ClaimsAge = max(orDefault(l.ClaimsAge, 48*time.Hour), l.ChangesAge, l.BodiesAge, l.EventsAge)
	l.AttachmentsAge = orDefault(l.AttachmentsAge, 48*time.Hour)
	return l
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// Streams names the streams of an installation.
type Streams struct {
	Changes, Selected, Missing, Write, Replay, Bodies, Routed, Done, Events, Failures, Refused, Claims, Attachments string
}

// Buckets names the key-value buckets of an installation.
type Buckets struct {
	Jobs, Feeds, Endpoints, Leases, Contents string
}

// topology is all that an installation keeps in the broker.
type topology struct {
	namespace string
	replicas  int // 0: those of what is there, 1 for what is new
	limits    Limits
	told      Limits // as this program was told: 0 for what it was not
	subjects  Subjects
	streams   Streams
	buckets   Buckets
}

func newTopology(namespace string, replicas int, limits Limits) topology {
	stream := func(name string) string { return namespace + "_" + name }
	return topology{
		namespace: namespace,
		replicas:  replicas,
		limits:    limits.withDefaults(),
		told:      limits,
		subjects:  Subjects{namespace},
		streams: Streams{
			Changes: stream("CHANGES"), Selected: stream("SELECTED"), Missing: stream("MISSING"),
			Write: stream("WRITE"), Replay: stream("REPLAY"), Bodies: stream("BODIES"),
			Routed: stream("ROUTED"), Done: stream("DONE"), Events: stream("EVENTS"),
			Failures: stream("FAILURES"), Refused: stream("REFUSED"), Claims: stream("CLAIMS"),
			Attachments: stream("ATTACHMENTS"),
		},
		buckets: Buckets{
			Jobs: stream("jobs"), Feeds: stream("feeds"),
			Endpoints: stream("endpoints"), Leases: stream("leases"), Contents: stream("contents"),
		},
	}
}

// streamConfigs declares the streams.
func (t topology) streamConfigs() []jetstream.StreamConfig {
	s, l, n := t.subjects, t.limits, t.streams
	return []jetstream.StreamConfig{
		// Rows, kept by limits and not by interest: a job that fell behind
		// replays them. The owner's marker stands beside the rows that it fences.
		t.log(n.Changes, l.ChangesBytes, l.ChangesAge, s.Changes(Any), s.Owner(Any)),
		// A job that cannot keep pace fills its own subject only (invariant 5).
		t.queue(n.Selected, s.Selected(Any, Any)),
		t.queue(n.Missing, s.Missing(Any, Any), s.Large(Any, Any)),
		t.queue(n.Write, s.Write(Any, Any)),
		t.queue(n.Replay, s.Replay(Any)),
		t.log(n.Bodies, l.BodiesBytes, l.BodiesAge, s.Bodies(Any)),
		// Read by stream sequence and purged below what is checkpointed.
		t.log(n.Routed, -1, 0, s.Routed(Any)),
		t.log(n.Done, -1, 0, s.Done(Any)),
		t.log(n.Events, -1, l.EventsAge, s.Events(Any), s.Replayed(Any, Any)),
		t.state(n.Failures, l.Failures, l.FailuresBytes, s.Failures(Any, Any)),
		t.state(n.Refused, l.Failures, l.RefusedBytes, s.Refused(Any, Any)),
		t.log(n.Claims, l.ClaimsBytes, l.ClaimsAge, s.claim(Any)),
		// What of it may go is decided by a ledger: the oldest may be what is written next.
		t.log(n.Attachments, -1, l.AttachmentsAge, s.Content(Any)),
	}
}

// log is a stream that is read by position; its oldest messages make room.
func (t topology) log(name string, maxBytes int64, maxAge time.Duration, subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        name,
		Subjects:    subjects,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxBytes:    maxBytes,
		MaxAge:      maxAge,
		Storage:     jetstream.FileStorage,
		Replicas:    max(t.replicas, 1),
		Duplicates:  min(duplicateWindow, orDefault(maxAge, duplicateWindow)),
		AllowDirect: true,
	}
}

// adoptBodies leaves the limits of BODIES that nobody told this program as they are.
func (t topology) adoptBodies(config *jetstream.StreamConfig, there jetstream.StreamConfig) {
	if t.told.BodiesBytes == 0 {
		config.MaxBytes = there.MaxBytes
	}
	if t.told.BodiesAge == 0 {
		config.MaxAge, config.Duplicates = there.MaxAge, there.Duplicates
	}
}

// state is a stream that has one message of each subject, the newest; the oldest of all make
// room.
func (t topology) state(name string, maxMessages, maxBytes int64, subjects ...string) jetstream.StreamConfig {
	c := t.log(name, maxBytes, 0, subjects...)
	c.MaxMsgsPerSubject, c.MaxMsgs = 1, maxMessages
	return c
}

// queue is a stream of work; a full subject refuses.
func (t topology) queue(name string, subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                 name,
		Subjects:             subjects,
		Retention:            jetstream.WorkQueuePolicy,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    int64(orDefault(t.limits.PerSubject, defaultPerSubject)),
		Storage:              jetstream.FileStorage,
		Replicas:             max(t.replicas, 1),
		Duplicates:           duplicateWindow,
		AllowDirect:          true,
	}
}

// bucketConfigs declares the key-value buckets.
func (t topology) bucketConfigs() []jetstream.KeyValueConfig {
	var configs []jetstream.KeyValueConfig
	for _, name := range []string{t.buckets.Jobs, t.buckets.Feeds, t.buckets.Endpoints, t.buckets.Leases, t.buckets.Contents} {
		configs = append(configs, jetstream.KeyValueConfig{
			Bucket:         name,
			History:        1,
			Storage:        jetstream.FileStorage,
			Replicas:       max(t.replicas, 1),
			LimitMarkerTTL: markerTTL,
		})
	}
	return configs
}

// insist repeats a request that may fail while a cluster elects, a server starts
// or another process creates the same thing. Each attempt has a context of its
// own, which ends with the connection: an answer would not come any more. A
// refusal that is about the request itself is final.
func (b *Broker) insist(ctx context.Context, do func(context.Context) error) error {
	for retry := newBackoff(20*time.Millisecond, time.Second); ; {
		err := b.attempt(ctx, do)
		if err == nil || final(err) {
			return err
		}
		if stop := retry.wait(ctx); stop != nil {
			return errors.Join(stop, err)
		}
	}
}

func (b *Broker) attempt(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel, err := b.session.within(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, requestTimeout)
	defer stop()
	return do(ctx)
}

// final reports that asking again would get the same answer.
func final(err error) bool {
	for _, told := range []error{nats.ErrConnectionClosed, jetstream.ErrMsgNotFound, ErrGap, ErrGone, ErrClosed, ErrUnsuitable} {
		if errors.Is(err, told) {
			return true
		}
	}
	// "Already in use" is what the loser of a race to create is told; the next
	// attempt updates.
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return false
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code == 400 && api.ErrorCode != codeNoPeers
}

// Subjects builds this installation's subjects.
func (b *Broker) Subjects() Subjects { return b.topology.subjects }

// Streams names this installation's streams.
func (b *Broker) Streams() Streams { return b.topology.streams }

// Buckets names this installation's buckets.
func (b *Broker) Buckets() Buckets { return b.topology.buckets }

// Limits are the limits in force.
func (b *Broker) Limits() Limits {
	l := b.topology.limits
	l.PerSubject = int(b.queueLimit.Load())
	l.BodiesBytes, l.BodiesAge = b.bodiesBytes.Load(), time.Duration(b.bodiesAge.Load())
	return l
}

// perSubject is how many messages a subject may hold; 0 when it is not bounded.
func (b *Broker) perSubject(subject string) int {
	switch b.topology.subjects.kind(subject) {
	case "selected", "missing", "large", "write", "replay":
		return int(b.queueLimit.Load())
	}
	return 0
}

// handles keeps what the client library needs to know of a stream, so that each
// is asked for once.
type handles struct {
	mu     sync.Mutex
	stream map[string]jetstream.Stream
}

// stream returns the handle of a stream.
func (b *Broker) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.handles.mu.Lock()
	known := b.handles.stream[name]
	b.handles.mu.Unlock()
	if known != nil {
		return known, nil
	}
	found, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	b.handles.mu.Lock()
	defer b.handles.mu.Unlock()
	if b.handles.stream == nil {
		b.handles.stream = make(map[string]jetstream.Stream)
	}
	b.handles.stream[name] = found
	return found, nil
}
