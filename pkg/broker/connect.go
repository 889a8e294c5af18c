package broker

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// DefaultNamespace prefixes streams, subjects and buckets where no other was
// configured.
const DefaultNamespace = "millrace"

// Options says which broker to use and how. The zero value connects to NATS on
// this machine at its usual port.
type Options struct {
	// URL of the NATS servers, several separated by commas. User and password,
	// or a token, may stand in it; they never reach a log line (invariant 9).
	// Empty: nats://127.0.0.1:4222. Ignored with Embedded.
	URL string
	// Embedded is the server in this process to use instead of URL.
	Embedded *Embedded
	// CredsFile is a NATS credentials file (JWT and key).
	CredsFile string
	// TLS is used when any of its fields is set or the URL's scheme is tls.
	TLS TLSFiles
	// Name of this client, as the servers list it.
	Name string
	// Namespace prefixes every stream, subject, bucket and durable, so that
	// several installations share a NATS; [DefaultNamespace] when empty. Letters,
	// digits, "-" and "_".
	Namespace string
	// Replicas of every stream and bucket; 0 leaves those that there are as they are
	// and makes new ones with 1.
	Replicas int
	// Limits of the streams.
	Limits Limits
	// Logger gets what happens to the connection; nil discards it.
	Logger *slog.Logger
}

// Broker is one connection to one installation's streams. It is safe for
// concurrent use.
type Broker struct {
	conn     *nats.Conn
	js       jetstream.JetStream
	embedded *Embedded
	log      *slog.Logger
	topology topology
	handles  handles
	signs    *signs
	session  session
	closed   chan struct{} // closed when the connection is gone for good
	// queueLimit is the PerSubject in force.
	queueLimit atomic.Int64
	// bodiesBytes and bodiesAge are the limits of BODIES in force.
	bodiesBytes, bodiesAge atomic.Int64

	mu     sync.Mutex
	status Status
}

// Status is how the connection stands.
type Status struct {
	// Connected to a server now.
	Connected bool
	// Since when it has been so.
	Since time.Time
	// Reason of the last disconnection, or of the last attempt to connect again that
	// failed, without credentials; empty when there was none.
	Reason string
}

// How the connection and its requests behave.
const (
	ackTimeout     = 5 * time.Second  // an unacknowledged publish is sent again
	writeTimeout   = 2 * time.Second  // so is one that others wait for: an append, a key
	requestTimeout = 5 * time.Second  // one request to the JetStream API
	pingInterval   = 10 * time.Second // a dead server is noticed after two
	maxPendingAcks = 1 << 17          // windows are bounded in bytes, above this count never
)

var namespacePattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Connect connects and creates or updates the streams and buckets. Several processes may
// do so at once. While no server answers it goes on trying, until ctx ends; what a setting
// would have to be changed for (a certificate that is not trusted, a password that is
// wrong) is an error at once. Once connected the connection comes back for ever.
func Connect(ctx context.Context, o Options) (*Broker, error) {
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if !namespacePattern.MatchString(o.Namespace) {
		return nil, fmt.Errorf("namespace %q: only letters, digits, - and _", o.Namespace)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Broker{
		signs:    newSigns(),
		embedded: o.Embedded,
		log:      o.Logger,
		topology: newTopology(o.Namespace, o.Replicas, o.Limits),
		closed:   make(chan struct{}),
	}
	if err := b.dial(ctx, o); err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", o.place(), err)
	}
	if err := b.create(ctx); err != nil {
		b.conn.Close()
		<-b.closed
		return nil, fmt.Errorf("create streams at %s: %w", o.place(), err)
	}
	return b, nil
}

func (b *Broker) setStatus(connected bool, reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if connected {
		b.session.begin()
	} else {
		b.session.lose()
	}
	if connected != b.status.Connected || b.status.Since.IsZero() {
		b.status.Connected, b.status.Since = connected, time.Now()
	}
	if reason != nil {
		b.status.Reason = reason.Error()
	}
}

// Status says whether the broker can be reached, and since when.
func (b *Broker) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	status := b.status
	if !status.Connected {
		if err := b.conn.LastError(); err != nil {
			status.Reason = err.Error()
		}
	}
	return status
}

// Private reports that the broker serves this process only.
func (b *Broker) Private() bool { return b.embedded != nil && b.embedded.Private() }

// Conn is the connection itself, for what this package does not cover.
func (b *Broker) Conn() *nats.Conn { return b.conn }

// JetStream is the JetStream context itself, for what this package does not
// cover.
func (b *Broker) JetStream() jetstream.JetStream { return b.js }

// Close delivers what is buffered and closes the connection. Close publishers,
// subscribers, leases and readers first. When ctx ends before everything is
// delivered the connection is cut, and the error says so.
func (b *Broker) Close(ctx context.Context) error {
	if err := b.conn.Drain(); err != nil {
		b.conn.Close() // not connected: nothing can be delivered
	}
	select {
	case <-b.closed:
		return nil
	case <-ctx.Done():
		b.conn.Close()
		<-b.closed
		return fmt.Errorf("close broker connection: %w", ctx.Err())
	}
}
