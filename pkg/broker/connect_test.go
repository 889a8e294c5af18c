package broker_test

import (
	"context"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace/pkg/broker"
)

func TestConnectShowsNoCredential(t *testing.T) {
	for _, url := range []string{
		"nats://user:s3cret@127.0.0.1:1",
		"nats://s3cret@127.0.0.1:1",
		"nats://user:s3cret@127.0.0.1:port",
		"nats://user:s3cret@[::1",
	} {
		ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
		_, err := broker.Connect(ctx, broker.Options{URL: url})
		cancel()
		require.Error(t, err)
		require.NotContains(t, err.Error(), "s3cret", url)
	}
}

func TestConnectRefusesANamespaceThatIsNoSubject(t *testing.T) {
	_, err := broker.Connect(testContext(t), broker.Options{Namespace: "a.b"})
	require.ErrorContains(t, err, "namespace")
}

func TestConcurrentConnectsAndChangedLimits(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{})
	var all sync.WaitGroup
	brokers := make([]*broker.Broker, 6)
	for i := range brokers {
		all.Go(func() {
			b, err := broker.Connect(testContext(t), broker.Options{Embedded: e})
			if err != nil {
				t.Error(err)
			}
			brokers[i] = b
		})
	}
	all.Wait()
	for _, b := range brokers {
		require.NoError(t, b.Close(testContext(t)))
	}
	b := connect(t, broker.Options{Embedded: e, Limits: broker.Limits{PerSubject: 3, BodiesBytes: 1 << 20}})
	for stream, check := range map[string]func(per, bytes int64) bool{
		b.Streams().Write:  func(per, _ int64) bool { return per == 3 },
		b.Streams().Bodies: func(_, bytes int64) bool { return bytes == 1<<20 },
	} {
		s, err := b.JetStream().Stream(testContext(t), stream)
		require.NoError(t, err)
		c := s.CachedInfo().Config
		require.True(t, check(c.MaxMsgsPerSubject, c.MaxBytes), stream)
	}
}

func TestClientThatIsToldNoLimitOfASubjectLeavesItAsItIs(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{})
	require.EqualValues(t, 8, connect(t, broker.Options{Embedded: e}).Limits().PerSubject)
	connect(t, broker.Options{Embedded: e, Limits: broker.Limits{PerSubject: 3}})
	b := connect(t, broker.Options{Embedded: e, Limits: broker.Limits{BodiesBytes: 1 << 20}})
	require.EqualValues(t, 3, b.Limits().PerSubject)
	s, err := b.JetStream().Stream(testContext(t), b.Streams().Write)
	require.NoError(t, err)
	require.EqualValues(t, 3, s.CachedInfo().Config.MaxMsgsPerSubject)
}

func TestInstallationsShareABroker(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{})
	one := connect(t, broker.Options{Embedded: e, Namespace: "one"})
	two := connect(t, broker.Options{Embedded: e, Namespace: "two"})
	publish(t, one, one.Subjects().Write("default", "job"), "x")
	require.EqualValues(t, 1, messagesIn(t, one, one.Streams().Write))
	require.Zero(t, messagesIn(t, two, two.Streams().Write))
}

func TestStatusSaysSinceWhen(t *testing.T) {
	before := time.Now()
	b := newBroker(t, broker.Limits{})
	s := b.Status()
	require.True(t, s.Connected)
	require.False(t, s.Since.Before(before))
	require.NoError(t, b.Close(testContext(t)))
	require.False(t, b.Status().Connected)
}

func TestTokensAndSubjectsLaws(t *testing.T) {
	token := regexp.MustCompile(`^[a-z2-7]{32}$`)
	subject := regexp.MustCompile(`^millrace\.write\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)
	b := newBroker(t, broker.Limits{})
	rapid.Check(t, func(t *rapid.T) {
		name, other := rapid.String().Draw(t, "name"), rapid.String().Draw(t, "other")
		require.Regexp(t, token, broker.Token(name))
		require.Equal(t, name == other, broker.Token(name) == broker.Token(other))
		if name != broker.Any && other != broker.Any {
			require.Regexp(t, subject, b.Subjects().Write(name, other))
		}
	})
}

func TestClientThatIsToldNoLimitOfBodiesLeavesThemAsTheyAre(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{})
	fresh := connect(t, broker.Options{Embedded: e}).Limits()
	require.EqualValues(t, 1<<30, fresh.BodiesBytes)
	require.Equal(t, time.Hour, fresh.BodiesAge)
	connect(t, broker.Options{Embedded: e, Limits: broker.Limits{BodiesBytes: 1 << 20, BodiesAge: time.Minute}})
	b := connect(t, broker.Options{Embedded: e})
	require.EqualValues(t, 1<<20, b.Limits().BodiesBytes)
	require.Equal(t, time.Minute, b.Limits().BodiesAge)
	s, err := b.JetStream().Stream(testContext(t), b.Streams().Bodies)
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, s.CachedInfo().Config.MaxBytes)
	require.Equal(t, time.Minute, s.CachedInfo().Config.MaxAge)
}
