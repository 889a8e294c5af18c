package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// TLSFiles names PEM files. They are read again at each connection, so that renewed
// certificates are used.
type TLSFiles struct {
	// CA that signed the servers' certificates; empty: the system's. Servers are
	// always verified, by name too.
	CA string
	// Cert and Key are the client's own, both or neither.
	Cert, Key string
}

// dial returns when the first connection stands. It tries until ctx ends, or a server's
// answer says that no attempt will succeed.
func (b *Broker) dial(ctx context.Context, o Options) error {
	up := make(chan struct{}, 1)
	options := append(b.natsOptions(o), nats.ConnectHandler(func(*nats.Conn) {
		b.setStatus(true, nil)
		up <- struct{}{}
	}))
	if err := checkOptions(o, options); err != nil {
		return err
	}
	b.setStatus(false, nil)
	conn, err := b.firstConn(ctx, o, options)
	if err != nil {
		return err
	}
	select {
	case <-up:
	case <-b.closed:
		return errors.Join(ErrClosed, conn.LastError())
	case <-ctx.Done():
		conn.Close()
		return ctx.Err()
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

// firstConn makes the first connection. The client library could repeat its attempts by
// itself, but would not say why they fail.
func (b *Broker) firstConn(ctx context.Context, o Options, options []nats.Option) (*nats.Conn, error) {
	var said string
	for retry := newBackoff(50*time.Millisecond, time.Second); ; {
		conn, err := dialNATS(o, options)
		if err == nil {
			return conn, nil
		}
		if refused(err) {
			return nil, err
		}
		if err.Error() != said {
			said = err.Error()
			b.log.Warn("cannot reach the broker yet", "broker", o.place(), "error", err)
		}
		if stop := retry.wait(ctx); stop != nil {
			return nil, errors.Join(stop, err)
		}
	}
}

// place is where a connection goes, for people.
func (o Options) place() string {
	if o.Embedded != nil {
		return "the embedded server"
	}
	return redactURL(o.URL)
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

// refused reports that a first connection failed for a reason that is in the settings,
// here or at the server, and not in the servers' state: whoever starts a program with a
// wrong password or certificate is told so at once. A connection that has stood once
// comes back by itself whatever the reason.
func refused(err error) bool {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return true
	}
	// What the server's TLS says, of our certificate usually. The alerts have no type
	// that others can see.
	var remote *net.OpError
	if errors.As(err, &remote) && remote.Op == "remote error" {
		return true
	}
	for _, told := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, nats.ErrNkeysNotSupported,
		nats.ErrMixingWebsocketSchemes,
	} {
		if errors.Is(err, told) {
			return true
		}
	}
	return false
}

func (b *Broker) natsOptions(o Options) []nats.Option {
	options := []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(-1),
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
	if t.Cert != "" {
		options = append(options, nats.ClientCert(t.Cert, t.Key))
	}
	if len(options) > 0 {
		options = append([]nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12})}, options...)
	}
	return options
}

// checkOptions finds what is wrong with the settings themselves: the client library would
// find out with each attempt to connect.
func checkOptions(o Options, options []nats.Option) error {
	if err := checkURL(o.URL); err != nil {
		return err
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		return errors.New("client certificate: the certificate and its key are needed, not one of them")
	}
	scratch := nats.GetDefaultOptions()
	for _, option := range options { // they read the PEM files
		if err := option(&scratch); err != nil {
			return err
		}
	}
	if o.CredsFile == "" {
		return nil
	}
	content, err := os.ReadFile(o.CredsFile)
	if err != nil {
		return fmt.Errorf("credentials file: %w", err)
	}
	defer clear(content)
	key, err := nkeys.ParseDecoratedUserNKey(content)
	if err != nil {
		return fmt.Errorf("credentials file %s: no user's key in it: %w", o.CredsFile, err)
	}
	key.Wipe()
	return nil
}
