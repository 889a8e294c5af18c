package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// consume drains a stage until it has seen n messages with different payloads,
// and returns how often each came.
func consume(t *testing.T, b *broker.Broker, topic string, n int, o broker.SubscriberOptions) map[string]int {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	if o.Durable == "" {
		o.Durable = "consumer"
	}
	s, err := broker.NewSubscriber(b, o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	messages, err := s.Subscribe(ctx, topic)
	require.NoError(t, err)
	seen := map[string]int{}
	for len(seen) < n {
		select {
		case m := <-messages:
			seen[string(m.Payload)]++
			m.Ack()
		case <-testContext(t).Done():
			t.Fatalf("%d of %d messages", len(seen), n)
		}
	}
	return seen
}

func TestSixteenProducersIntoAFullSubjectLoseNothing(t *testing.T) {
	onEachKind(t, broker.Limits{PerSubject: 4}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		subject := b.Subjects().Missing("default", "job")
		const producers, each = 16, 25
		var wg sync.WaitGroup
		for p := range producers {
			publisher := newPublisher(t, connect(), broker.PublisherOptions{})
			wg.Go(func() {
				for i := range each {
					m := message.NewMessage(fmt.Sprintf("%d.%d", p, i), fmt.Appendf(nil, "%d.%d", p, i))
					m.SetContext(testContext(t))
					if err := publisher.Publish(subject, m); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen := consume(t, b, subject, producers*each, broker.SubscriberOptions{})
		wg.Wait()
		require.Len(t, seen, producers*each)
		await(t, "nothing is left", func() bool { return messagesIn(t, b, b.Streams().Missing) == 0 })
	})
}

func TestTryPublishSaysThatTheSubjectIsFull(t *testing.T) {
	onEachKind(t, broker.Limits{PerSubject: 2}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		p := newPublisher(t, b, broker.PublisherOptions{})
		subject := b.Subjects().Selected("default", "slow")
		for _, payload := range [][]byte{[]byte("small"), make([]byte, 100<<10)} {
			_, err := p.TryPublish(testContext(t), subject, payload)
			require.NoError(t, err)
		}
		for _, payload := range [][]byte{[]byte("small"), make([]byte, 100<<10), make([]byte, 3<<20)} {
			_, err := p.TryPublish(testContext(t), subject, payload)
			require.ErrorIs(t, err, broker.ErrSubjectFull)
		}
		require.Zero(t, messagesIn(t, b, b.Streams().Claims), "the content of a refused message was stored")
		_, err := p.TryPublish(testContext(t), b.Subjects().Selected("default", "other"), []byte("x"))
		require.NoError(t, err, "one full subject concerns no other")
	})
}

func TestTryPublishDoesNotWaitBehindSomebodyWhoDoes(t *testing.T) {
	b := newBroker(t, broker.Limits{PerSubject: 1})
	p := newPublisher(t, b, broker.PublisherOptions{})
	subject := b.Subjects().Write("default", "job")
	_, err := p.PublishSeq(testContext(t), subject, []byte("fills it"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(testContext(t))
	waiting, err := p.PublishAsync(ctx, subject, []byte("waits"))
	require.NoError(t, err)
	_, err = p.TryPublish(testContext(t), subject, []byte("does not"))
	require.ErrorIs(t, err, broker.ErrSubjectFull)
	cancel()
	_, err = waiting.Wait(testContext(t))
	require.ErrorIs(t, err, context.Canceled)
}

func TestPublishGivesUpWithItsContextOnly(t *testing.T) {
	b := newBroker(t, broker.Limits{PerSubject: 1})
	p := newPublisher(t, b, broker.PublisherOptions{})
	subject := b.Subjects().Write("default", "job")
	require.NoError(t, p.Publish(subject, message.NewMessage("1", nil)))
	ctx, cancel := context.WithCancel(testContext(t))
	m := message.NewMessage("2", nil)
	m.SetContext(ctx)
	failed := make(chan error, 1)
	go func() { failed <- p.Publish(subject, m) }()
	_, err := p.TryPublish(testContext(t), subject, nil)
	require.ErrorIs(t, err, broker.ErrSubjectFull)
	select {
	case err := <-failed:
		t.Fatal("gave up by itself: ", err)
	default:
	}
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
}

func TestPublishedTwiceIsStoredOnce(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	first, err := p.PublishSeq(testContext(t), b.Subjects().Bodies("f"), []byte("x"), broker.MsgID("one"))
	require.NoError(t, err)
	second, err := p.PublishSeq(testContext(t), b.Subjects().Bodies("f"), []byte("x"), broker.MsgID("one"))
	require.NoError(t, err)
	require.Equal(t, first, second)
}

func TestOneMessageToTwoSubjectsIsTwoMessages(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	m := message.NewMessage("same", nil)
	require.NoError(t, p.Publish(b.Subjects().Write("default", "one"), m))
	require.NoError(t, p.Publish(b.Subjects().Write("default", "two"), m))
	require.EqualValues(t, 2, messagesIn(t, b, b.Streams().Write))
}

func TestExpectedSequenceThatHasMovedOnFences(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	subject := b.Subjects().Events("job")
	seq, err := p.PublishSeq(testContext(t), subject, nil, broker.ExpectLast(subject, 0))
	require.NoError(t, err)
	_, err = p.PublishSeq(testContext(t), subject, nil, broker.ExpectLast(subject, seq+1))
	require.ErrorIs(t, err, broker.ErrFenced)
}

func TestPublishAfterCloseIsRefused(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := broker.NewPublisher(b, broker.PublisherOptions{})
	require.NoError(t, p.Close())
	require.ErrorIs(t, p.Publish(b.Subjects().Events("job"), message.NewMessage("1", nil)), broker.ErrClosed)
	require.NoError(t, p.Close(), "closing twice is harmless")
}

func TestWindowSmallerThanAMessageLetsItThroughAlone(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{WindowBytes: 1 << 10})
	var futures []*broker.Future
	for range 20 {
		f, err := p.PublishAsync(testContext(t), b.Subjects().Bodies("f"), make([]byte, 10<<10))
		require.NoError(t, err)
		futures = append(futures, f)
	}
	for _, f := range futures {
		_, err := f.Wait(testContext(t))
		require.NoError(t, err)
	}
}

func TestServerRestartWhilePublishingLosesAndRepeatsNothing(t *testing.T) {
	dir := t.TempDir()
	first, err := broker.StartEmbedded(testContext(t), broker.EmbeddedOptions{DataDir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	address := strings.TrimPrefix(first.ClientURL(), "nats://")
	b := connect(t, broker.Options{URL: first.ClientURL()})
	p := newPublisher(t, b, broker.PublisherOptions{})
	const n = 400
	var futures []*broker.Future
	for i := range n {
		if i == n/2 {
			require.NoError(t, first.Close())
			startEmbedded(t, broker.EmbeddedOptions{DataDir: dir, Listen: address})
		}
		f, err := p.PublishAsync(testContext(t), b.Subjects().Bodies("f"), fmt.Appendf(nil, "%d", i))
		require.NoError(t, err)
		futures = append(futures, f)
	}
	stored := map[uint64]int{}
	for i, f := range futures {
		seq, err := f.Wait(testContext(t))
		require.NoError(t, err)
		body, err := b.GetBody(testContext(t), b.Streams().Bodies, seq)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), string(body))
		stored[seq]++
	}
	require.Len(t, stored, n)
	require.EqualValues(t, n, messagesIn(t, b, b.Streams().Bodies))
}

func TestLargeMessagesTravelUnnoticed(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		p := newPublisher(t, b, broker.PublisherOptions{})
		large := bytes.Repeat([]byte("millrace "), 400_000) // 3.6 MB
		limit := int(b.Conn().MaxPayload())
		for _, payload := range [][]byte{large, large[:limit], large[:limit-1], large[:limit/2]} {
			seq, err := p.PublishSeq(testContext(t), b.Subjects().Bodies("f"), payload, broker.Header("colour", "blue"))
			require.NoError(t, err)
			e, err := b.GetEntry(testContext(t), b.Streams().Bodies, seq)
			require.NoError(t, err)
			require.True(t, bytes.Equal(payload, e.Data))
			require.Equal(t, "blue", e.Header.Get("colour"))
			for key := range e.Header {
				require.NotContains(t, key, "Claim")
			}
			require.NoError(t, p.Publish(b.Subjects().Write("default", "job"), message.NewMessage(fmt.Sprint(len(payload)), payload)))
		}
		last, err := b.Last(testContext(t), b.Streams().Bodies, b.Subjects().Bodies("f"))
		require.NoError(t, err)
		require.Len(t, last.Data, limit/2)
		seen := consume(t, b, b.Subjects().Write("default", broker.Any), 4, broker.SubscriberOptions{})
		require.Contains(t, seen, string(large))
	})
}

func TestLostContentIsSaidAndNotDropped(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	subject := b.Subjects().Write("default", "job")
	m := message.NewMessage("large", make([]byte, 2<<20))
	m.Metadata.Set("batch", "17")
	require.NoError(t, p.Publish(subject, m))
	seq, err := p.PublishSeq(testContext(t), b.Subjects().Bodies("f"), make([]byte, 2<<20))
	require.NoError(t, err)

	claims, err := b.JetStream().Stream(testContext(t), b.Streams().Claims)
	require.NoError(t, err)
	require.NoError(t, claims.Purge(testContext(t)))

	_, err = b.GetBody(testContext(t), b.Streams().Bodies, seq)
	require.ErrorIs(t, err, broker.ErrClaimLost)
	s, err := broker.NewSubscriber(b, broker.SubscriberOptions{Durable: "stage"})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	messages, err := s.Subscribe(testContext(t), subject)
	require.NoError(t, err)
	got := <-messages
	require.Equal(t, "true", got.Metadata.Get(broker.MetaClaimLost))
	require.Equal(t, "17", got.Metadata.Get("batch"))
	require.Empty(t, got.Payload)
	got.Ack()
}

func TestBodyThatWasTrimmedIsGone(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		_, err := b.GetBody(testContext(t), b.Streams().Bodies, 4711)
		require.ErrorIs(t, err, broker.ErrGone)
	})
}

func TestSecondProcessOnADataDirectoryIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	startEmbedded(t, broker.EmbeddedOptions{DataDir: dir})
	_, err := broker.StartEmbedded(testContext(t), broker.EmbeddedOptions{DataDir: dir})
	require.ErrorIs(t, err, broker.ErrDataDirInUse)
}
