package broker_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// startServer runs a NATS server with JetStream in this process, on a free port.
func startServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	o.JetStream = true
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(o)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(patience))
	return s
}

// secured are the options of a server that shows a certificate, and with clients set
// demands one that the same authority issued.
func secured(t *testing.T, ca *authority, host string, clients bool) *server.Options {
	t.Helper()
	files := ca.issue(t, host)
	config, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: files.Cert, KeyFile: files.Key, CaFile: ca.file, Verify: clients})
	require.NoError(t, err)
	return &server.Options{TLSConfig: config, TLS: true, TLSVerify: clients, TLSTimeout: 10}
}

// refuses connects in vain, and says why; nothing that the connection logged or the
// error says may contain a secret.
func refuses(t *testing.T, o broker.Options, secrets ...string) error {
	t.Helper()
	var log syncBuffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	_, err := broker.Connect(testContext(t), o)
	require.Error(t, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded, "it went on trying for ever")
	for _, secret := range secrets {
		require.NotContains(t, err.Error()+log.String(), secret)
	}
	return err
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// requireWorks publishes and consumes a message.
func requireWorks(t *testing.T, b *broker.Broker) {
	t.Helper()
	subject := b.Subjects().Write("default", "job")
	content := nuid.Next()
	publish(t, b, subject, content)
	require.Equal(t, map[string]int{content: 1}, consume(t, b, subject, 1, broker.SubscriberOptions{}))
}

func TestServerWithAPrivateCertificateAuthority(t *testing.T) {
	ca := newAuthority(t, "private")
	s := startServer(t, secured(t, ca, "127.0.0.1", false))
	for _, url := range []string{s.ClientURL(), strings.Replace(s.ClientURL(), "nats://", "tls://", 1)} {
		requireWorks(t, connect(t, broker.Options{URL: url, TLS: broker.TLSFiles{CA: ca.file}}))
	}
}

func TestServerIsVerifiedUnlessItsAuthorityIsKnown(t *testing.T) {
	ca := newAuthority(t, "private")
	s := startServer(t, secured(t, ca, "127.0.0.1", false))
	for name, files := range map[string]broker.TLSFiles{
		"the system's authorities": {},
		"another authority":        {CA: newAuthority(t, "another").file},
	} {
		err := refuses(t, broker.Options{URL: s.ClientURL(), TLS: files})
		var unknown x509.UnknownAuthorityError
		require.ErrorAs(t, err, &unknown, name)
		require.ErrorContains(t, err, strings.TrimPrefix(s.ClientURL(), "tls://"), name)
	}
}

func TestServerIsVerifiedByName(t *testing.T) {
	ca := newAuthority(t, "private")
	s := startServer(t, secured(t, ca, "elsewhere.example", false))
	err := refuses(t, broker.Options{URL: s.ClientURL(), TLS: broker.TLSFiles{CA: ca.file}})
	var name x509.HostnameError
	require.ErrorAs(t, err, &name)
}

func TestClientShowsItsCertificate(t *testing.T) {
	ca := newAuthority(t, "private")
	s := startServer(t, secured(t, ca, "127.0.0.1", true))
	requireWorks(t, connect(t, broker.Options{URL: s.ClientURL(), TLS: ca.issue(t, "client")}))

	err := refuses(t, broker.Options{URL: s.ClientURL(), TLS: broker.TLSFiles{CA: ca.file}})
	require.ErrorContains(t, err, "certificate")
	stranger := newAuthority(t, "another").issue(t, "client")
	stranger.CA = ca.file
	err = refuses(t, broker.Options{URL: s.ClientURL(), TLS: stranger})
	require.ErrorContains(t, err, "certificate")
}

func TestServerWithoutTLSIsRefusedByWhoWantsIt(t *testing.T) {
	s := startServer(t, &server.Options{})
	err := refuses(t, broker.Options{URL: s.ClientURL(), TLS: broker.TLSFiles{CA: newAuthority(t, "private").file}})
	require.ErrorIs(t, err, nats.ErrSecureConnWanted)
}

func TestFilesThatCannotBeReadAreSaidAtOnce(t *testing.T) {
	files := newAuthority(t, "private").issue(t, "client")
	rubbish := filepath.Join(t.TempDir(), "rubbish")
	require.NoError(t, os.WriteFile(rubbish, []byte("s3cret"), 0o600))
	for name, o := range map[string]broker.Options{
		"no such authority":     {TLS: broker.TLSFiles{CA: "/nonexistent/ca.pem"}},
		"authority is no PEM":   {TLS: broker.TLSFiles{CA: rubbish}},
		"certificate alone":     {TLS: broker.TLSFiles{Cert: files.Cert}},
		"key alone":             {TLS: broker.TLSFiles{Key: files.Key}},
		"key is no PEM":         {TLS: broker.TLSFiles{Cert: files.Cert, Key: rubbish}},
		"no such credentials":   {CredsFile: "/nonexistent/user.creds"},
		"credentials are none":  {CredsFile: rubbish},
		"certificate for a key": {TLS: broker.TLSFiles{Cert: files.Cert, Key: files.Cert}},
	} {
		// Nobody listens there: whoever looked at the files only when a server
		// answers would wait for ever.
		o.URL = "nats://127.0.0.1:1"
		refuses(t, o, "s3cret")
		t.Log(name)
	}
}

func TestUserAndPassword(t *testing.T) {
	s := startServer(t, &server.Options{Username: "mill", Password: "s3cret/%"})
	url := func(user string) string { return strings.Replace(s.ClientURL(), "nats://", "nats://"+user+"@", 1) }
	requireWorks(t, connect(t, broker.Options{URL: url("mill:s3cret%2F%25")}))
	for _, user := range []string{"mill:wr0ng", "wr0ng:s3cret%2F%25", "wr0ng"} {
		err := refuses(t, broker.Options{URL: url(user)}, "wr0ng", "s3cret")
		require.ErrorIs(t, err, nats.ErrAuthorization)
	}
	require.ErrorIs(t, refuses(t, broker.Options{URL: s.ClientURL()}), nats.ErrAuthorization)
}

func TestToken(t *testing.T) {
	s := startServer(t, &server.Options{Authorization: "s3cret"})
	url := func(token string) string { return strings.Replace(s.ClientURL(), "nats://", "nats://"+token+"@", 1) }
	requireWorks(t, connect(t, broker.Options{URL: url("s3cret")}))
	require.ErrorIs(t, refuses(t, broker.Options{URL: url("wr0ng")}, "wr0ng"), nats.ErrAuthorization)
}

func TestStatusSaysWhyAConnectionDoesNotComeBack(t *testing.T) {
	ca := newAuthority(t, "private")
	o := secured(t, ca, "127.0.0.1", false)
	s := startServer(t, o)
	b := connect(t, broker.Options{URL: s.ClientURL(), TLS: broker.TLSFiles{CA: ca.file}})
	port := s.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
	s.Shutdown()
	s.WaitForShutdown()
	await(t, "the loss is noticed", func() bool { return !b.Status().Connected })

	other := secured(t, newAuthority(t, "another"), "127.0.0.1", false)
	other.Port, other.StoreDir = int(port), o.StoreDir
	s = startServer(t, other)
	await(t, "the reason is said", func() bool { return strings.Contains(b.Status().Reason, "unknown authority") })
	s.Shutdown()
	s.WaitForShutdown()

	again := secured(t, ca, "127.0.0.1", false)
	again.Port, again.StoreDir = int(port), o.StoreDir
	startServer(t, again)
	await(t, "it is back", func() bool { return b.Status().Connected })
	requireWorks(t, b)
}

func TestSettingsThatThisNATSCannotMeetAreSaidAtOnce(t *testing.T) {
	s := startServer(t, &server.Options{})
	require.ErrorIs(t, refuses(t, broker.Options{URL: s.ClientURL(), Replicas: 3}), broker.ErrUnsuitable)
	small := startServer(t, &server.Options{JetStreamMaxStore: 1 << 20})
	require.ErrorIs(t, refuses(t, broker.Options{URL: small.ClientURL()}), broker.ErrUnsuitable)
}

// The permissions are those that deploy/README.md names.
func TestUserWhoMayOnlyUseJetStreamIsEnough(t *testing.T) {
	subjects := []string{"$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "_INBOX.>", "millrace.>"}
	s := startServer(t, &server.Options{Users: []*server.User{{Username: "mill", Password: "s3cret", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: subjects}, Subscribe: &server.SubjectPermission{Allow: subjects},
	}}}})
	var log syncBuffer
	b, err := broker.Connect(testContext(t), broker.Options{
		URL: strings.Replace(s.ClientURL(), "nats://", "nats://mill:s3cret@", 1), Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close(testContext(t))) }()
	requireWorks(t, b)
	lease, err := b.WaitLease(testContext(t), "l", "me", ttl)
	require.NoError(t, err)
	require.NoError(t, lease.Release(testContext(t)))
	a := newAppender(t, b, "f", 1)
	appendRange(t, a, 1, 11)
	r := follow(t, b, b.Streams().Changes, b.Subjects().Changes("f"), 0, broker.LogOptions{})
	requireEntries(t, r, 1, 11)
	require.NoError(t, b.Purge(testContext(t), b.Streams().Changes, b.Subjects().Changes("f"), 5))
	require.NotContains(t, log.String(), "ermission")
}
