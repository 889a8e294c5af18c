package broker_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace/pkg/broker"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(memberEnv); config != "" {
		runMember(config) // this process is a server of a cluster
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of the tests: nothing is asserted about time, but
// what never comes must not hang.
const patience = 60 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func startEmbedded(t *testing.T, o broker.EmbeddedOptions) *broker.Embedded {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	e, err := broker.StartEmbedded(testContext(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func connect(t *testing.T, o broker.Options) *broker.Broker {
	t.Helper()
	if os.Getenv("MILLRACE_TEST_LOG") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	b, err := broker.Connect(testContext(t), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = b.Close(ctx) // its server may be gone by now
	})
	return b
}

// newBroker is a broker on a server of its own.
func newBroker(t *testing.T, limits broker.Limits) *broker.Broker {
	t.Helper()
	return connect(t, broker.Options{Embedded: startEmbedded(t, broker.EmbeddedOptions{}), Limits: limits})
}

func newPublisher(t *testing.T, b *broker.Broker, o broker.PublisherOptions) *broker.Publisher {
	t.Helper()
	p := broker.NewPublisher(b, o)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func messagesIn(t *testing.T, b *broker.Broker, stream string) uint64 {
	t.Helper()
	s, err := b.JetStream().Stream(testContext(t), stream)
	require.NoError(t, err)
	return s.CachedInfo().State.Msgs
}

// await asks again and again until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 5*time.Millisecond, what)
}

func createStream(t *testing.T, b *broker.Broker, c jetstream.StreamConfig) {
	t.Helper()
	_, err := b.JetStream().CreateOrUpdateStream(testContext(t), c)
	require.NoError(t, err)
}
