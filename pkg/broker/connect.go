package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"sync"
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
	// Replicas of every stream and bucket; 0 means 1.
	Replicas int
	// Limits of the streams.
	Limits Limits
	// Logger gets what happens to the connection; nil discards it.
	Logger *slog.Logger
}

// TLSFiles names PEM files.
type TLSFiles struct {
	// CA that signed the servers' certificates; empty: the system's.
	CA string
	// Cert and Key are the client's own, both or neither.
	Cert, Key string
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
	session  session
	closed   chan struct{} // closed when the connection is gone for good

	mu     sync.Mutex
	status Status
}

// Status is how the connection stands.
type Status struct {
	// Connected to a server now.
	Connected bool
	// Since when it has been so.
	Since time.Time
	// Reason of the last disconnection, without credentials; empty when there
	// was none.
	Reason string
}

// How the connection and its requests behave.
const (
	ackTimeout     = 10 * time.Second // an unacknowledged publish is sent again
	requestTimeout = 5 * time.Second  // one request to the JetStream API
	pingInterval   = 10 * time.Second // a dead server is noticed after two
	maxPendingAcks = 1 << 17          // windows are bounded in bytes, above this count never
)

var namespacePattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Connect connects and creates or updates the streams and buckets. It goes on
// trying until ctx ends, and once connected reconnects for ever. Several
// processes may do so at once.
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
		embedded: o.Embedded,
		log:      o.Logger,
		topology: newTopology(o.Namespace, o.Replicas, o.Limits),
		closed:   make(chan struct{}),
	}
	if err := b.dial(ctx, o); err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", redactURL(o.URL), err)
	}
	if err := b.create(ctx); err != nil {
		b.conn.Close()
		return nil, fmt.Errorf("create streams: %w", err)
	}
	return b, nil
}

// dial returns when the first connection stands.
func (b *Broker) dial(ctx context.Context, o Options) error {
	up := make(chan struct{}, 1)
	options := append(b.natsOptions(o), nats.ConnectHandler(func(*nats.Conn) {
		b.setStatus(true, nil)
		up <- struct{}{}
	}))
	b.setStatus(false, nil)
	conn, err := dialNATS(o, options)
	if err != nil {
		return withoutURL(err)
	}
	select {
	case <-up:
	case <-b.closed:
		return errors.Join(ErrClosed, conn.LastError())
	case <-ctx.Done():
		err := conn.LastError()
		conn.Close()
		return errors.Join(ctx.Err(), err)
	}
	b.conn = conn
	b.js, err = jetstream.New(conn,
		jetstream.WithPublishAsyncMaxPending(maxPendingAcks),
		jetstream.WithPublishAsyncTimeout(ackTimeout),
		jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		conn.Close()
	}
	return err
}

func dialNATS(o Options, options []nats.Option) (*nats.Conn, error) {
	if o.Embedded != nil {
		return o.Embedded.Connect(options...)
	}
	servers := o.URL
	if servers == "" {
		servers = nats.DefaultURL
	}
	return nats.Connect(servers, options...)
}

func (b *Broker) natsOptions(o Options) []nats.Option {
	options := []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectHandler(func(*nats.Conn) { b.setStatus(true, nil) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.setStatus(false, err) }),
		nats.ClosedHandler(func(*nats.Conn) {
			b.session.finish()
			close(b.closed)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.log.Warn("broker connection", "error", err)
		}),
	}
	if o.CredsFile != "" {
		options = append(options, nats.UserCredentials(o.CredsFile))
	}
	return append(options, o.TLS.options()...)
}

func (t TLSFiles) options() []nats.Option {
	var options []nats.Option
	if t.CA != "" {
		options = append(options, nats.RootCAs(t.CA))
	}
	if t.Cert != "" || t.Key != "" {
		options = append(options, nats.ClientCert(t.Cert, t.Key))
	}
	if len(options) > 0 {
		options = append([]nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12})}, options...)
	}
	return options
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
	return b.status
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

// redactURL shows where a connection goes and hides who makes it (invariant 9).
func redactURL(urls string) string {
	if urls == "" {
		return nats.DefaultURL
	}
	var shown []string
	for one := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" {
			shown = append(shown, "(unreadable URL)")
			continue
		}
		shown = append(shown, u.Scheme+"://"+u.Host)
	}
	return strings.Join(shown, ",")
}

// withoutURL drops the URL that net/url puts into its errors, password included.
func withoutURL(err error) error {
	var parse *url.Error
	if errors.As(err, &parse) {
		return parse.Err
	}
	return err
}
