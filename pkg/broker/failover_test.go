package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// A third of the servers is stopped while everything that the services do is under way.
// Who leads a stream and who has the clients' connections are different losses: the first
// leaves requests without an answer on a connection that stands.
func TestFailoverLosesAndRepeatsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers take their time")
	}
	for name, c := range map[string]struct {
		cluster                func(t *testing.T) []member
		leads, connected, long bool
	}{
		"the leader of the streams":               {cluster: members, leads: true},
		"the server that clients use":             {cluster: members, connected: true},
		"the leader, which is the clients' too":   {cluster: members, leads: true, connected: true, long: true},
		"the leader, by SIGKILL":                  {cluster: processes, leads: true, long: true},
		"the leader and the clients', by SIGKILL": {cluster: processes, leads: true, connected: true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.long && os.Getenv("MILLRACE_TEST_LONG") == "" {
				t.Skip("MILLRACE_TEST_LONG is not set")
			}
			servers := c.cluster(t)
			victim, at, leader := servers[2], servers[0], servers[0]
			if c.connected {
				at = victim
			}
			if c.leads {
				leader = victim
			}
			b := connect(t, broker.Options{URL: at.url, Replicas: 3})
			require.Equal(t, at.name, b.Conn().ConnectedServerName())
			lead(t, b, leader.name)
			w := startWork(t, b)
			w.await(t, 100)
			victim.stop()
			w.await(t, 300)
			w.finish(t)
		})
	}
}

// lead makes a server the leader of all streams and buckets that have work.
func lead(t *testing.T, b *broker.Broker, name string) {
	t.Helper()
	request, err := json.Marshal(map[string]any{"placement": map[string]string{"preferred": name}})
	require.NoError(t, err)
	n := b.Streams()
	for _, stream := range []string{n.Changes, n.Bodies, n.Write, n.Done, "KV_" + b.Buckets().Leases, "KV_" + b.Buckets().Jobs} {
		await(t, stream+" is led by "+name, func() bool {
			handle, err := b.JetStream().Stream(testContext(t), stream)
			if err == nil && handle.CachedInfo().Cluster.Leader == name {
				return true
			}
			// Its answer does not always come; the next round sees what became of it.
			_, _ = b.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, request, 200*time.Millisecond)
			return false
		})
	}
}

// work is everything at once: an asynchronous publisher, an owner that appends to its
// log and a reader of that, a stage, a lease, and a key that is written again and again.
type work struct {
	b        *broker.Broker
	stop     chan struct{}
	all      sync.WaitGroup
	publish  *broker.Publisher
	appender *broker.Appender
	reader   *broker.LogReader
	lease    *broker.Lease
	stage    *broker.Subscriber

	bodies, appends, reads, sent, keys atomic.Int64

	mu      sync.Mutex
	futures []*broker.Future
	handled map[string]int
}

func startWork(t *testing.T, b *broker.Broker) *work {
	t.Helper()
	w := &work{b: b, stop: make(chan struct{}), handled: map[string]int{}}
	// Longer than one wait: there are several, and elections take their time.
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	t.Cleanup(cancel)
	w.publish = newPublisher(t, b, broker.PublisherOptions{})
	var err error
	w.lease, err = b.AcquireLease(ctx, "feed", "me", 10*time.Second)
	require.NoError(t, err)
	w.appender = newAppender(t, b, "f", w.lease.Revision())
	w.reader = follow(t, b, b.Streams().Changes, b.Subjects().Changes("f"), 0, broker.LogOptions{})
	w.stage, err = broker.NewSubscriber(b, broker.SubscriberOptions{Durable: "stage", AckWait: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.stage.Close()) })
	messages, err := w.stage.Subscribe(ctx, b.Subjects().Write("default", broker.Any))
	require.NoError(t, err)
	for _, part := range []func(context.Context) error{w.publishBodies, w.append, w.read, w.send, w.writeKey} {
		w.all.Go(func() {
			if err := part(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	w.all.Go(func() { w.handle(messages) })
	return w
}

func (w *work) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

func (w *work) publishBodies(ctx context.Context) error {
	for i := 0; !w.stopped(); i++ {
		f, err := w.publish.PublishAsync(ctx, w.b.Subjects().Bodies("f"), fmt.Appendf(nil, "%d", i))
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.futures = append(w.futures, f)
		w.mu.Unlock()
		if i%20 == 19 { // so that the clock is the broker's
			if _, err := f.Wait(ctx); err != nil {
				return err
			}
		}
		w.bodies.Add(1)
	}
	return nil
}

func (w *work) append(ctx context.Context) error {
	var last *broker.Future
	for i := uint64(1); !w.stopped(); i++ {
		f, err := w.appender.Append(ctx, i, fmt.Appendf(nil, "%d", i))
		if err != nil {
			return err
		}
		if i%10 == 0 {
			if _, err := f.Wait(ctx); err != nil {
				return err
			}
		}
		last = f
		w.appends.Store(int64(i))
	}
	_, err := last.Wait(ctx)
	return err
}

// read checks the log as it comes: dense, in order, nothing twice.
func (w *work) read(ctx context.Context) error {
	for i := int64(1); !w.stopped() || i <= w.appends.Load(); i++ {
		e, err := w.reader.Next(ctx)
		if err != nil {
			return err
		}
		if string(e.Data) != fmt.Sprint(i) {
			return fmt.Errorf("entry %s of the log follows %d", e.Data, i-1)
		}
		w.reads.Store(i)
	}
	return nil
}

func (w *work) send(ctx context.Context) error {
	for i := 0; !w.stopped(); i++ {
		m := message.NewMessage(fmt.Sprint(i), fmt.Appendf(nil, "%d", i))
		m.SetContext(ctx)
		if err := w.publish.Publish(w.b.Subjects().Write("default", fmt.Sprint("job", i%3)), m); err != nil {
			return err
		}
		w.sent.Store(int64(i + 1))
	}
	return nil
}

func (w *work) handle(messages <-chan *message.Message) {
	for m := range messages {
		w.mu.Lock()
		w.handled[string(m.Payload)]++
		w.mu.Unlock()
		m.Ack()
	}
}

func (w *work) writeKey(ctx context.Context) error {
	var revision uint64
	for i := 1; !w.stopped(); i++ {
		next, err := w.b.WriteKey(ctx, w.b.Buckets().Jobs, "key", fmt.Appendf(nil, "%d", i), revision)
		if err != nil {
			return fmt.Errorf("write %d: %w", i, err)
		}
		revision = next
		w.keys.Store(int64(i))
	}
	return nil
}

func (w *work) handledCount() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.handled))
}

// await waits until every part has done more than it had, by n.
func (w *work) await(t *testing.T, n int64) {
	t.Helper()
	counts := map[string]func() int64{
		"bodies": w.bodies.Load, "appends": w.appends.Load, "reads": w.reads.Load,
		"sent": w.sent.Load, "keys": w.keys.Load, "handled": w.handledCount,
	}
	before := map[string]int64{}
	for part, count := range counts {
		before[part] = count()
	}
	begun := time.Now()
	for part, count := range counts {
		await(t, fmt.Sprintf("%s go on after %d", part, before[part]), func() bool { return t.Failed() || count() >= before[part]+n })
		t.Logf("%s: %d more after %s", part, n, time.Since(begun).Round(time.Millisecond))
	}
}

func (w *work) finish(t *testing.T) {
	t.Helper()
	close(w.stop)
	await(t, "all that was sent is handled", func() bool { return t.Failed() || w.handledCount() == w.sent.Load() })
	// An acknowledgement that was lost with a server means that the message comes again.
	await(t, "nothing is left to do", func() bool { return t.Failed() || messagesIn(t, w.b, w.b.Streams().Write) == 0 })
	require.NoError(t, w.stage.Close())
	w.all.Wait()
	if t.Failed() {
		return
	}

	r := follow(t, w.b, w.b.Streams().Bodies, w.b.Subjects().Bodies("f"), 0, broker.LogOptions{})
	stored := map[uint64]string{}
	for range w.futures {
		e, err := r.Next(testContext(t))
		require.NoError(t, err)
		stored[e.Sequence] = string(e.Data)
	}
	for i, f := range w.futures {
		sequence, err := f.Wait(testContext(t))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), stored[sequence])
	}
	require.EqualValues(t, len(w.futures), messagesIn(t, w.b, w.b.Streams().Bodies), "nothing twice")
	require.NoError(t, w.appender.Err())
	require.EqualValues(t, w.appends.Load()+1, messagesIn(t, w.b, w.b.Streams().Changes), "the log and its marker")

	e, err := w.b.Last(testContext(t), "KV_"+w.b.Buckets().Jobs, "$KV."+w.b.Buckets().Jobs+".key")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(w.keys.Load()), string(e.Data))

	// The lease was kept, or its holder knows that it was not.
	err = w.b.CheckLease(testContext(t), "feed", w.lease.Revision())
	if !w.lease.Valid() {
		t.Log("the lease was lost:", err)
		return
	}
	if err != nil {
		require.True(t, errors.Is(err, broker.ErrLeaseLost) && !w.lease.Valid(), err)
	}
	require.NoError(t, w.lease.Release(testContext(t)))
}
