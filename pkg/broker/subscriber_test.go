package broker_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

func subscribe(t *testing.T, b *broker.Broker, topic string, o broker.SubscriberOptions) (<-chan *message.Message, *broker.Subscriber) {
	t.Helper()
	if o.Durable == "" {
		o.Durable = "stage"
	}
	s, err := broker.NewSubscriber(b, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	messages, err := s.Subscribe(testContext(t), topic)
	require.NoError(t, err)
	return messages, s
}

func publish(t *testing.T, b *broker.Broker, subject string, payloads ...string) {
	t.Helper()
	p := broker.NewPublisher(b, broker.PublisherOptions{})
	for i, payload := range payloads {
		require.NoError(t, p.Publish(subject, message.NewMessage(fmt.Sprintf("%s.%d", payload, i), []byte(payload))))
	}
	require.NoError(t, p.Close())
}

func receive(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-messages:
		require.True(t, ok, "the channel is closed")
		return m
	case <-testContext(t).Done():
		t.Fatal("no message")
		return nil
	}
}

// The slow job's handlers never finish until every message of the others has
// been handled: if it cost them anything, this would not end.
func TestOneSlowJobAmongFiftyCostsTheOthersNothing(t *testing.T) {
	const jobs, each = 50, 12
	b := newBroker(t, broker.Limits{PerSubject: each}) // nobody consumes until all is sent
	p := newPublisher(t, b, broker.PublisherOptions{})
	for i := range each { // the slow job's come first
		for job := range jobs {
			_, err := p.PublishAsync(testContext(t), b.Subjects().Write("default", fmt.Sprint("job", job)), fmt.Appendf(nil, "%d", i))
			require.NoError(t, err)
		}
	}
	messages, _ := subscribe(t, b, b.Subjects().Write("default", broker.Any), broker.SubscriberOptions{
		InFlight: 8, PerSubject: 2, QueuePerSubject: 3, PullMaxMessages: 32, AckWait: 2 * time.Second, NakDelay: time.Millisecond,
	})
	slow := b.Subjects().Write("default", "job0")
	var held []*message.Message
	for fast := 0; fast < (jobs-1)*each; {
		m := receive(t, messages)
		if m.Metadata.Get(broker.MetaSubject) == slow {
			held = append(held, m)
			require.LessOrEqual(t, len(held), 2, "more of one subject than may be")
			continue
		}
		m.Ack()
		fast++
	}
	require.Len(t, held, 2)
	for slowDone := 0; slowDone < each; slowDone++ {
		if len(held) == 0 {
			held = append(held, receive(t, messages))
		}
		held[0].Ack()
		held = held[1:]
	}
	await(t, "nothing is left", func() bool { return messagesIn(t, b, b.Streams().Write) == 0 })
}

func TestMessageBeingHandledIsNotDeliveredAgain(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	messages, _ := subscribe(t, b, b.Subjects().Write("default", broker.Any), broker.SubscriberOptions{AckWait: 3 * time.Second, PerSubject: 1})
	subject := b.Subjects().Write("default", "job")
	publish(t, b, subject, "long", "queued behind it")
	long := receive(t, messages)
	// Another job's message is the clock: it is refused until it has come six
	// times, whose delays add up to more than AckWait.
	publish(t, b, b.Subjects().Write("default", "clock"), "tick")
	for {
		m := receive(t, messages)
		require.Equal(t, "tick", string(m.Payload))
		if m.Metadata.Get(broker.MetaDelivered) == "6" {
			m.Ack()
			break
		}
		m.Nack()
	}
	long.Ack()
	next := receive(t, messages)
	require.Equal(t, "queued behind it", string(next.Payload))
	require.Equal(t, "1", next.Metadata.Get(broker.MetaDelivered))
	next.Ack()
}

func TestMessagesOfASubjectComeInOrderWhenOneIsHandledAtOnce(t *testing.T) {
	b := newBroker(t, broker.Limits{PerSubject: 200})
	subject := b.Subjects().Write("default", "job")
	messages, _ := subscribe(t, b, b.Subjects().Write("default", broker.Any), broker.SubscriberOptions{PerSubject: 1})
	p := newPublisher(t, b, broker.PublisherOptions{})
	for i := range 200 {
		require.NoError(t, p.Publish(subject, message.NewMessage(strconv.Itoa(i), []byte(strconv.Itoa(i)))))
	}
	for i := range 200 {
		m := receive(t, messages)
		require.Equal(t, strconv.Itoa(i), string(m.Payload))
		m.Ack()
	}
}

func TestDeliverySaysWhereAMessageComesFrom(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	subject := b.Subjects().Missing("default", "job")
	p := newPublisher(t, b, broker.PublisherOptions{})
	m := message.NewMessage("id", []byte("x"))
	m.Metadata.Set("traceparent", "00-abc-def-01")
	require.NoError(t, p.Publish(subject, m))
	messages, _ := subscribe(t, b, subject, broker.SubscriberOptions{})
	got := receive(t, messages)
	require.Equal(t, "id", got.UUID)
	require.Equal(t, subject, got.Metadata.Get(broker.MetaSubject))
	require.Equal(t, "1", got.Metadata.Get(broker.MetaSequence))
	require.Equal(t, "1", got.Metadata.Get(broker.MetaDelivered))
	require.Equal(t, "00-abc-def-01", got.Metadata.Get("traceparent"))
	_, err := time.Parse(time.RFC3339Nano, got.Metadata.Get(broker.MetaPublished))
	require.NoError(t, err)
	for key := range got.Metadata {
		require.False(t, strings.HasPrefix(key, "Nats-"), key)
	}
	require.NoError(t, p.Publish(subject, got), "a handler may send on what it got, to the same stream even")
	got.Ack()
}

func TestRefusedMessageComesBack(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	subject := b.Subjects().Write("default", "job")
	publish(t, b, subject, "x")
	messages, _ := subscribe(t, b, subject, broker.SubscriberOptions{NakDelay: time.Millisecond})
	receive(t, messages).Nack()
	again := receive(t, messages)
	require.Equal(t, "2", again.Metadata.Get(broker.MetaDelivered))
	again.Ack()
}

func TestCloseGivesBackWhatWasNotHandled(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	subject := b.Subjects().Write("default", "job")
	publish(t, b, subject, "a", "b", "c", "d", "e", "f")
	// With an AckWait this long, what is not given back would not come in time.
	o := broker.SubscriberOptions{InFlight: 2, PerSubject: 2, AckWait: time.Hour, DrainTimeout: time.Millisecond}
	messages, first := subscribe(t, b, b.Subjects().Write("default", broker.Any), o)
	abandoned := receive(t, messages)
	receive(t, messages).Ack()
	require.NoError(t, first.Close())
	require.Error(t, abandoned.Context().Err(), "its handler was told")
	require.Len(t, consume(t, b, b.Subjects().Write("default", broker.Any), 5, broker.SubscriberOptions{Durable: "stage"}), 5)
}

// With an AckWait this long, whatever an instance that ends had on its way would
// be missing.
func TestInstancesThatComeAndGoLeaveNothingBehind(t *testing.T) {
	b := newBroker(t, broker.Limits{PerSubject: 1000})
	const n = 600
	p := newPublisher(t, b, broker.PublisherOptions{})
	for i := range n {
		_, err := p.PublishAsync(testContext(t), b.Subjects().Write("default", fmt.Sprint(i%7)), fmt.Appendf(nil, "%d", i))
		require.NoError(t, err)
	}
	all := b.Subjects().Write("default", broker.Any)
	seen := map[string]bool{}
	for range 15 {
		s, err := broker.NewSubscriber(b, broker.SubscriberOptions{Durable: "stage", AckWait: time.Hour, AckSync: true, DrainTimeout: time.Millisecond})
		require.NoError(t, err)
		messages, err := s.Subscribe(testContext(t), all)
		require.NoError(t, err)
		for range 10 {
			m := receive(t, messages)
			m.Ack()
			seen[string(m.Payload)] = true
		}
		require.NoError(t, s.Close())
	}
	messages, _ := subscribe(t, b, all, broker.SubscriberOptions{AckWait: time.Hour})
	for len(seen) < n {
		m := receive(t, messages)
		m.Ack()
		seen[string(m.Payload)] = true
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	subject := b.Subjects().Write("default", "job")
	publish(t, b, subject, "a")
	messages, s := subscribe(t, b, subject, broker.SubscriberOptions{AckSync: true})
	m := receive(t, messages)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	_, err := s.Subscribe(testContext(t), subject)
	for err == nil { // until Close has begun
		_, err = s.Subscribe(testContext(t), subject)
	}
	require.ErrorIs(t, err, broker.ErrClosed)
	require.NoError(t, m.Context().Err())
	m.Ack()
	require.NoError(t, <-closed)
	require.Zero(t, messagesIn(t, b, b.Streams().Write))
}

func TestSubscriberSurvivesTheLossOfItsConsumer(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	subject := b.Subjects().Write("default", "job")
	messages, _ := subscribe(t, b, subject, broker.SubscriberOptions{Durable: "stage", Filter: []string{subject}})
	publish(t, b, subject, "before")
	receive(t, messages).Ack()
	require.NoError(t, b.JetStream().DeleteConsumer(testContext(t), b.Streams().Write, "millrace_stage"))
	publish(t, b, subject, "after")
	for {
		m := receive(t, messages)
		m.Ack()
		if string(m.Payload) == "after" { // the first may come twice: its ack was forgotten with the consumer
			return
		}
	}
}

func TestSubscriberSurvivesARestartOfTheServer(t *testing.T) {
	dir := t.TempDir()
	first, err := broker.StartEmbedded(testContext(t), broker.EmbeddedOptions{DataDir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	address := strings.TrimPrefix(first.ClientURL(), "nats://")
	b := connect(t, broker.Options{URL: first.ClientURL()})
	subject := b.Subjects().Write("default", "job")
	messages, _ := subscribe(t, b, subject, broker.SubscriberOptions{})
	publish(t, b, subject, "before")
	receive(t, messages).Ack()

	require.NoError(t, first.Close())
	await(t, "the loss is noticed", func() bool { return !b.Status().Connected })
	startEmbedded(t, broker.EmbeddedOptions{DataDir: dir, Listen: address})
	await(t, "it is back", func() bool { return b.Status().Connected })
	require.NotEmpty(t, b.Status().Since)

	publish(t, b, subject, "after")
	for {
		m := receive(t, messages)
		m.Ack()
		if string(m.Payload) == "after" {
			return
		}
	}
}

func TestInstancesOfAStageShareItsWork(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		p := newPublisher(t, b, broker.PublisherOptions{})
		const n = 200
		var mu sync.Mutex
		seen := map[string]int{}
		var stage sync.WaitGroup
		ctx, cancel := context.WithCancel(testContext(t))
		for range 3 {
			s, err := broker.NewSubscriber(connect(), broker.SubscriberOptions{
				Durable: "stage", Stream: b.Streams().Selected, Filter: []string{b.Subjects().Selected("default", broker.Any)},
			})
			require.NoError(t, err)
			messages, err := s.Subscribe(ctx, "selected")
			require.NoError(t, err)
			stage.Go(func() {
				for m := range messages {
					mu.Lock()
					seen[string(m.Payload)]++
					mu.Unlock()
					m.Ack()
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		for i := range n {
			_, err := p.PublishSeq(testContext(t), b.Subjects().Selected("default", fmt.Sprint(i%10)), fmt.Appendf(nil, "%d", i))
			require.NoError(t, err)
		}
		await(t, "all are handled", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == n })
		cancel()
		stage.Wait()
		for payload, times := range seen {
			require.Equal(t, 1, times, payload)
		}
	})
}

// What a stage has in hand is not handled, nor what comes behind it.
func TestHandledIsUpToWhatAStageHasAcknowledged(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	subject := b.Subjects().Write("default", "job")
	handled := func() uint64 {
		n, err := b.Handled(testContext(t), b.Streams().Write, "stage")
		require.NoError(t, err)
		return n
	}
	require.Zero(t, handled(), "there is no such consumer")
	messages, _ := subscribe(t, b, subject, broker.SubscriberOptions{
		Durable: "stage", Stream: b.Streams().Write, Filter: []string{subject}, InFlight: 2, PerSubject: 2, AckSync: true,
	})
	publish(t, b, subject, "a", "b")
	first, second := receive(t, messages), receive(t, messages)
	require.Zero(t, handled())
	second.Ack()
	first.Ack()
	require.Eventually(t, func() bool { return handled() == 2 }, 30*time.Second, time.Millisecond)
}
