package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

func follow(t *testing.T, b *broker.Broker, stream, subject string, from uint64, o broker.LogOptions) *broker.LogReader {
	t.Helper()
	r, err := b.Follow(testContext(t), stream, subject, from, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func write(t *testing.T, p *broker.Publisher, subject string, from, to int) (sequences []uint64) {
	t.Helper()
	for i := from; i < to; i++ {
		seq, err := p.PublishSeq(testContext(t), subject, fmt.Appendf(nil, "%d", i))
		require.NoError(t, err)
		sequences = append(sequences, seq)
	}
	return sequences
}

func requireEntries(t *testing.T, r *broker.LogReader, from, to int) (last broker.Entry) {
	t.Helper()
	for i := from; i < to; i++ {
		e, err := r.Next(testContext(t))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), string(e.Data))
		last = e
	}
	return last
}

func TestLogIsReadInOrderFromAPosition(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		p := newPublisher(t, b, broker.PublisherOptions{})
		mine, other := b.Subjects().Routed("mine"), b.Subjects().Routed("other")
		for i := range 50 {
			write(t, p, mine, i, i+1)
			write(t, p, other, i, i+1)
		}
		r := follow(t, b, b.Streams().Routed, mine, 0, broker.LogOptions{})
		last := requireEntries(t, r, 0, 30)
		require.Equal(t, mine, last.Subject)
		require.False(t, last.Time.IsZero())
		resumed := follow(t, connect(), b.Streams().Routed, mine, r.Position(), broker.LogOptions{})
		requireEntries(t, resumed, 30, 50)
		write(t, p, mine, 50, 60)
		requireEntries(t, resumed, 50, 60)
		requireEntries(t, r, 30, 60)
	})
}

func TestWildcardReadsAllSubjectsInTheStreamsOrder(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	r := follow(t, b, b.Streams().Done, b.Subjects().Done(broker.Any), 0, broker.LogOptions{})
	for i := range 20 {
		write(t, p, b.Subjects().Done(fmt.Sprint("job", i%3)), i, i+1)
	}
	requireEntries(t, r, 0, 20)
}

func TestReaderSurvivesARestartOfTheServer(t *testing.T) {
	dir := t.TempDir()
	first, err := broker.StartEmbedded(testContext(t), broker.EmbeddedOptions{DataDir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	address := strings.TrimPrefix(first.ClientURL(), "nats://")
	b := connect(t, broker.Options{URL: first.ClientURL()})
	p := newPublisher(t, b, broker.PublisherOptions{})
	subject := b.Subjects().Routed("f")
	r := follow(t, b, b.Streams().Routed, subject, 0, broker.LogOptions{})
	write(t, p, subject, 0, 10)
	requireEntries(t, r, 0, 5)
	require.NoError(t, first.Close())
	startEmbedded(t, broker.EmbeddedOptions{DataDir: dir, Listen: address})
	write(t, p, subject, 10, 20)
	requireEntries(t, r, 5, 20)
}

func TestReaderOfABrokerThatIsAwayEndsWithItsContext(t *testing.T) {
	e, err := broker.StartEmbedded(testContext(t), broker.EmbeddedOptions{DataDir: t.TempDir()})
	require.NoError(t, err)
	b := connect(t, broker.Options{Embedded: e})
	r := follow(t, b, b.Streams().Routed, b.Subjects().Routed("f"), 0, broker.LogOptions{})
	require.NoError(t, e.Close())
	await(t, "the loss is noticed", func() bool { return !b.Status().Connected })
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() {
		_, err := r.Next(ctx)
		ended <- err
	}()
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestReaderSurvivesTheLossOfItsConsumer(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	subject := b.Subjects().Routed("f")
	r := follow(t, b, b.Streams().Routed, subject, 0, broker.LogOptions{})
	write(t, p, subject, 0, 10)
	requireEntries(t, r, 0, 10)
	s, err := b.JetStream().Stream(testContext(t), b.Streams().Routed)
	require.NoError(t, err)
	names := s.ConsumerNames(testContext(t))
	for name := range names.Name() {
		require.NoError(t, s.DeleteConsumer(testContext(t), name))
	}
	write(t, p, subject, 10, 20)
	requireEntries(t, r, 10, 20)
}

// trimmed is a log with limits that keeps only its newest messages.
func trimmed(t *testing.T, b *broker.Broker) (stream, subject string) {
	createStream(t, b, jetstream.StreamConfig{Name: "TRIMMED", Subjects: []string{"trimmed.*"}, MaxMsgs: 5, Discard: jetstream.DiscardOld, AllowDirect: true})
	return "TRIMMED", "trimmed.log"
}

func TestTrimmedPositionIsAGap(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	stream, subject := trimmed(t, b)
	sequences := write(t, p, subject, 0, 20)
	_, err := b.Follow(testContext(t), stream, subject, sequences[3], broker.LogOptions{})
	require.ErrorIs(t, err, broker.ErrGap)
	var gap *broker.GapError
	require.ErrorAs(t, err, &gap)
	require.Equal(t, broker.GapError{Stream: stream, Subject: subject, Want: sequences[3], Have: sequences[15]}, *gap)

	r := follow(t, b, stream, subject, sequences[15], broker.LogOptions{})
	requireEntries(t, r, 15, 20)
	whatever := follow(t, b, stream, subject, 0, broker.LogOptions{})
	requireEntries(t, whatever, 15, 20)
}

func TestPositionBeyondTheStreamIsAnothersStream(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	_, err := b.Follow(testContext(t), b.Streams().Routed, b.Subjects().Routed("f"), 4711, broker.LogOptions{})
	var gap *broker.GapError
	require.ErrorAs(t, err, &gap)
	require.True(t, gap.Reset)
}

func TestPurgingBelowACheckpointIsNoGap(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	mine, other := b.Subjects().Done("mine"), b.Subjects().Done("other")
	sequences := write(t, p, mine, 0, 10)
	others := write(t, p, other, 0, 10)
	require.NoError(t, b.Purge(testContext(t), b.Streams().Done, mine, sequences[9]+1))
	require.NoError(t, b.Purge(testContext(t), b.Streams().Done, other, others[9]))
	write(t, p, mine, 10, 12)
	r := follow(t, b, b.Streams().Done, mine, sequences[9]+1, broker.LogOptions{})
	requireEntries(t, r, 10, 12)
	first, err := b.First(testContext(t), b.Streams().Done, other)
	require.NoError(t, err)
	require.Equal(t, others[9], first.Sequence)
	last, err := b.Last(testContext(t), b.Streams().Done, other)
	require.NoError(t, err)
	require.Equal(t, others[9], last.Sequence)
	_, err = b.First(testContext(t), b.Streams().Done, b.Subjects().Done("nobody"))
	require.ErrorIs(t, err, broker.ErrGone)
}

func TestNextEndsWithItsContextAndGoesOnAfterwards(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	subject := b.Subjects().Routed("f")
	r := follow(t, b, b.Streams().Routed, subject, 0, broker.LogOptions{})
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	_, err := r.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	write(t, p, subject, 0, 3)
	requireEntries(t, r, 0, 3)
	require.NoError(t, r.Close())
	_, err = r.Next(testContext(t))
	require.ErrorIs(t, err, broker.ErrClosed)
}

func TestLargeEntryWhoseReadingWasCutShortIsReadByTheNextCall(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	subject := b.Subjects().Routed("f")
	const n = 10
	for i := range n {
		_, err := p.PublishSeq(testContext(t), subject, bytes.Repeat([]byte{byte(i)}, 2<<20))
		require.NoError(t, err)
	}
	r := follow(t, b, b.Streams().Routed, subject, 0, broker.LogOptions{})
	over, cancel := context.WithCancel(testContext(t))
	cancel()
	for i := range n {
		for range 20 { // whether it finds an entry that has come is left to chance
			_, err := r.Next(over)
			require.ErrorIs(t, err, context.Canceled)
		}
		e, err := r.Next(testContext(t))
		require.NoError(t, err)
		require.Equal(t, byte(i), e.Data[0])
	}
}
