package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// The requests of the connection before still stand at the broker when the next one comes,
// and must not be answered to where nobody listens. With an AckWait this long, what was
// would not come again.
func TestReconnectingLosesNoDelivery(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	b := connect(t, broker.Options{URL: e.ClientURL()})
	other := connect(t, broker.Options{Embedded: e})
	subject := b.Subjects().Write("default", "job")
	messages, _ := subscribe(t, b, subject, broker.SubscriberOptions{AckWait: time.Hour, AckSync: true})
	for round := range 5 {
		before := b.Conn().Stats().Reconnects
		require.NoError(t, b.Conn().ForceReconnect())
		await(t, "it is connected again", func() bool { return b.Conn().Stats().Reconnects > before && b.Status().Connected })
		for i := range 10 {
			content := fmt.Sprintf("%d.%d", round, i)
			publish(t, other, subject, content)
			m := receive(t, messages)
			require.Equal(t, content, string(m.Payload))
			m.Ack()
		}
	}
}

func TestSubscriberIsClosedWhileItWaitsForTheBroker(t *testing.T) {
	e, err := broker.StartEmbedded(testContext(t), broker.EmbeddedOptions{DataDir: t.TempDir()})
	require.NoError(t, err)
	b := connect(t, broker.Options{Embedded: e})
	s, err := broker.NewSubscriber(b, broker.SubscriberOptions{Durable: "stage"})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	await(t, "the loss is noticed", func() bool { return !b.Status().Connected })
	subscribing := make(chan error, 1)
	begun := startedContext{Context: testContext(t), started: make(chan struct{}, 1)}
	go func() {
		_, err := s.Subscribe(begun, b.Subjects().Write("default", "job"))
		subscribing <- err
	}()
	<-begun.started
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-testContext(t).Done():
		t.Fatal("Close waits for Subscribe, which waits for the broker")
	}
	require.ErrorIs(t, <-subscribing, broker.ErrClosed)
}

// startedContext says when somebody begins to wait for its end.
type startedContext struct {
	context.Context
	started chan struct{}
}

func (c startedContext) Done() <-chan struct{} {
	select {
	case c.started <- struct{}{}:
	default:
	}
	return c.Context.Done()
}
