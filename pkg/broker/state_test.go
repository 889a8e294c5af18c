package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// put writes the state of a revision and returns its place.
func put(t *testing.T, b *broker.Broker, p *broker.Publisher, job, revision, content string) uint64 {
	t.Helper()
	seq, err := p.PublishSeq(testContext(t), b.Subjects().Failures(job, revision), []byte(content))
	require.NoError(t, err)
	return seq
}

func contents(t *testing.T, b *broker.Broker, subject string) []string {
	t.Helper()
	var all []string
	require.NoError(t, b.Each(testContext(t), b.Streams().Failures, subject, func(e broker.Entry) error {
		all = append(all, string(e.Data))
		return nil
	}))
	return all
}

func TestStateHasTheNewestOfEachSubject(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	for i := range 1200 {
		put(t, b, p, "a", fmt.Sprint(i), "old")
	}
	for i := range 1200 {
		put(t, b, p, "a", fmt.Sprint(i), "new "+fmt.Sprint(i))
	}
	put(t, b, p, "b", "1", "of b")
	all := contents(t, b, b.Subjects().Failures("a", broker.Any))
	require.Len(t, all, 1200)
	require.Equal(t, "new 0", all[0])
	require.Equal(t, "new 1199", all[1199])
	n, err := b.Count(testContext(t), b.Streams().Failures, b.Subjects().Failures(broker.Any, broker.Any))
	require.NoError(t, err)
	require.EqualValues(t, 1201, n)
	var subjects []string
	require.NoError(t, b.EachSubject(testContext(t), b.Streams().Failures, b.Subjects().Failures("b", broker.Any), func(s string) error {
		subjects = append(subjects, s)
		return nil
	}))
	require.Equal(t, []string{b.Subjects().Failures("b", "1")}, subjects)
	require.Empty(t, contents(t, b, b.Subjects().Failures("c", broker.Any)))
}

// What is replaced while it is gone through comes behind the rest, and would come for ever.
func TestEachEndsAlthoughWhatItGoesThroughIsReplaced(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	for i := range 700 {
		put(t, b, p, "a", fmt.Sprint(i), "old")
	}
	seen := 0
	require.NoError(t, b.Each(testContext(t), b.Streams().Failures, b.Subjects().Failures("a", broker.Any), func(broker.Entry) error {
		put(t, b, p, "a", fmt.Sprint(seen), "new")
		seen++
		return nil
	}))
	require.Equal(t, 700, seen)

	stop := errors.New("stop")
	require.ErrorIs(t, b.Each(testContext(t), b.Streams().Failures, b.Subjects().Failures("a", broker.Any), func(broker.Entry) error { return stop }), stop)
}

func TestRemoveTakesThatMessageOnlyAndIsNoErrorWhenItIsGone(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	p := newPublisher(t, b, broker.PublisherOptions{})
	old := put(t, b, p, "a", "1", "old")
	replaced := put(t, b, p, "a", "1", "new")
	put(t, b, p, "a", "2", "other")
	for range 2 {
		require.NoError(t, b.Remove(testContext(t), b.Streams().Failures, old))
	}
	require.Equal(t, []string{"new", "other"}, contents(t, b, b.Subjects().Failures("a", broker.Any)))
	for range 2 {
		require.NoError(t, b.Remove(testContext(t), b.Streams().Failures, replaced))
	}
	require.NoError(t, b.Remove(testContext(t), b.Streams().Failures, 1000))
	require.Equal(t, []string{"other"}, contents(t, b, b.Subjects().Failures("a", broker.Any)))
}

func TestStateKeepsTheNewestWithinItsLimit(t *testing.T) {
	b := newBroker(t, broker.Limits{Failures: 100})
	p := newPublisher(t, b, broker.PublisherOptions{})
	full := func() float64 {
		f, err := b.Fullness(testContext(t), b.Streams().Failures)
		require.NoError(t, err)
		return f
	}
	require.Less(t, full(), 0.01)
	for i := range 250 {
		put(t, b, p, "a", fmt.Sprint(i), fmt.Sprint(i))
	}
	require.InDelta(t, 1, full(), 0.01)
	all := contents(t, b, b.Subjects().Failures("a", broker.Any))
	require.Len(t, all, 100)
	require.True(t, slices.Contains(all, "249") && !slices.Contains(all, "149"))
}

// Records have one message a subject whatever a program was told of queues, and queues keep
// their limit.
func TestStateIsNoQueue(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{})
	connect(t, broker.Options{Embedded: e, Limits: broker.Limits{PerSubject: 6}})
	b := connect(t, broker.Options{Embedded: e})
	require.Equal(t, 6, b.Limits().PerSubject)
	s, err := b.JetStream().Stream(testContext(t), b.Streams().Failures)
	require.NoError(t, err)
	require.EqualValues(t, 1, s.CachedInfo().Config.MaxMsgsPerSubject)
}
