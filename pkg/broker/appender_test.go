package broker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

func newAppender(t *testing.T, b *broker.Broker, feed string, epoch uint64) *broker.Appender {
	t.Helper()
	a, err := b.NewAppender(testContext(t), b.Subjects().Changes(feed), b.Subjects().Owner(feed), epoch, broker.AppenderOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close(testContext(t)) }) // may have been fenced
	return a
}

func appendRange(t *testing.T, a *broker.Appender, from, to uint64) {
	t.Helper()
	var futures []*broker.Future
	for i := from; i < to; i++ {
		f, err := a.Append(testContext(t), i, fmt.Appendf(nil, "%d", i))
		require.NoError(t, err)
		futures = append(futures, f)
	}
	for _, f := range futures {
		_, err := f.Wait(testContext(t))
		require.NoError(t, err)
	}
}

func TestAppendedEntriesAreDenseAndChained(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		a := newAppender(t, b, "f", 7)
		_, err := a.LastAppended(testContext(t))
		require.ErrorIs(t, err, broker.ErrGone)
		appendRange(t, a, 1, 101)
		r := follow(t, b, b.Streams().Changes, b.Subjects().Changes("f"), 0, broker.LogOptions{})
		previous := uint64(0)
		for i := 1; i <= 100; i++ {
			e, err := r.Next(testContext(t))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), string(e.Data))
			require.Equal(t, fmt.Sprint(i), e.Header.Get(broker.HeaderOrdinal))
			require.Equal(t, "7", e.Header.Get(broker.HeaderEpoch))
			require.Equal(t, fmt.Sprint(previous), e.Header.Get(broker.HeaderPrevious))
			previous = e.Sequence
		}
		last, err := a.LastAppended(testContext(t))
		require.NoError(t, err)
		require.Equal(t, "100", string(last.Data))
		_, err = a.Append(testContext(t), 102, nil)
		require.ErrorContains(t, err, "dense")
	})
}

// Both owners append as fast as they can, the second takes over in the middle.
func TestAfterATakeoverEveryAppendOfTheOldOwnerIsRefused(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		old := newAppender(t, b, "f", 1)
		var accepted uint64
		var paused sync.WaitGroup
		begun := make(chan struct{})
		paused.Go(func() {
			for i := uint64(1); ; i++ {
				f, err := old.Append(testContext(t), i, fmt.Appendf(nil, "%d", i))
				if err == nil {
					_, err = f.Wait(testContext(t))
				}
				if err != nil {
					require.ErrorIs(t, err, broker.ErrFenced)
					return
				}
				accepted = i
				if i == 20 {
					close(begun)
				}
			}
		})
		<-begun
		next := newAppender(t, connect(), "f", 2)
		last, err := next.LastAppended(testContext(t))
		require.NoError(t, err)
		var ordinal uint64
		_, err = fmt.Sscan(string(last.Data), &ordinal)
		require.NoError(t, err)
		appendRange(t, next, ordinal+1, ordinal+51)
		// The old owner may have nothing to say for a while; now it has.
		paused.Wait()
		require.LessOrEqual(t, accepted, ordinal, "an entry was accepted behind the new owner's marker")
		require.ErrorIs(t, old.Err(), broker.ErrFenced)
		<-old.Stopped()
		for range 5 {
			_, err := old.Append(testContext(t), accepted+1, nil)
			require.ErrorIs(t, err, broker.ErrFenced)
		}
		r := follow(t, b, b.Streams().Changes, b.Subjects().Changes("f"), 0, broker.LogOptions{})
		requireEntries(t, r, 1, int(ordinal)+51)
	})
}

func TestAnOlderEpochCannotTakeOver(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	newAppender(t, b, "f", 5)
	_, err := b.NewAppender(testContext(t), b.Subjects().Changes("f"), b.Subjects().Owner("f"), 4, broker.AppenderOptions{})
	require.ErrorIs(t, err, broker.ErrFenced)
}

func TestFeedsDoNotFenceEachOther(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		var feeds sync.WaitGroup
		for i := range 5 {
			a := newAppender(t, b, fmt.Sprint("feed", i), 1)
			feeds.Go(func() { appendRange(t, a, 1, 31) })
		}
		feeds.Wait()
	})
}

func TestLargeEntriesAreAppendedAndRead(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	a := newAppender(t, b, "f", 1)
	f, err := a.Append(testContext(t), 1, make([]byte, 3<<20))
	require.NoError(t, err)
	_, err = f.Wait(testContext(t))
	require.NoError(t, err)
	last, err := a.LastAppended(testContext(t))
	require.NoError(t, err)
	require.Len(t, last.Data, 3<<20)
}

// purge removes everything below a sequence, as limits do.
func purge(t *testing.T, b *broker.Broker, below uint64) {
	t.Helper()
	s, err := b.JetStream().Stream(testContext(t), b.Streams().Changes)
	require.NoError(t, err)
	require.NoError(t, s.Purge(testContext(t), jetstream.WithPurgeSequence(below)))
}

func TestOwnerWhoseMarkerWasTrimmedGoesOn(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	a := newAppender(t, b, "f", 3)
	marker := a.Marker()
	appendRange(t, a, 1, 11)
	purge(t, b, marker+5)
	appendRange(t, a, 11, 21)
	require.Greater(t, a.Marker(), marker)
	last, err := a.LastAppended(testContext(t))
	require.NoError(t, err)
	require.Equal(t, "20", string(last.Data))
}

func TestOwnerOfALogThatWasTrimmedWholeAsksWhetherItStillOwnsIt(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	confirmed := 0
	for feed, confirm := range map[string]func(context.Context) error{
		"owned": func(context.Context) error { confirmed++; return nil },
		"lost":  func(context.Context) error { return broker.ErrLeaseLost },
		"mute":  nil,
	} {
		a, err := b.NewAppender(testContext(t), b.Subjects().Changes(feed), b.Subjects().Owner(feed), 1, broker.AppenderOptions{Confirm: confirm})
		require.NoError(t, err)
		appendRange(t, a, 1, 4)
		s, err := b.JetStream().Stream(testContext(t), b.Streams().Changes)
		require.NoError(t, err)
		require.NoError(t, s.Purge(testContext(t)))
		f, err := a.Append(testContext(t), 4, nil)
		require.NoError(t, err)
		_, err = f.Wait(testContext(t))
		if feed == "owned" {
			require.NoError(t, err)
			require.NoError(t, a.Close(testContext(t)))
		} else {
			require.ErrorIs(t, err, broker.ErrFenced, feed)
			require.ErrorIs(t, a.Close(testContext(t)), broker.ErrFenced)
		}
	}
	require.Equal(t, 1, confirmed)
}

func TestReaderNoticesWhatWasTrimmedWhileItWasAway(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	a := newAppender(t, b, "f", 1)
	subject := b.Subjects().Changes("f")
	appendRange(t, a, 1, 21)
	r := follow(t, b, b.Streams().Changes, subject, 0, broker.LogOptions{})
	e := requireEntries(t, r, 1, 11)
	require.NoError(t, r.Close())
	purge(t, b, e.Sequence+1)
	resumed := follow(t, b, b.Streams().Changes, subject, e.Sequence+1, broker.LogOptions{})
	requireEntries(t, resumed, 11, 21)
	require.NoError(t, resumed.Close())
	purge(t, b, e.Sequence+2)
	late := follow(t, b, b.Streams().Changes, subject, e.Sequence+1, broker.LogOptions{})
	_, err := late.Next(testContext(t))
	require.ErrorIs(t, err, broker.ErrGap)
}

func TestQuietFeedInABusyStreamIsNoGap(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	quiet, busy := newAppender(t, b, "quiet", 1), newAppender(t, b, "busy", 1)
	subject := b.Subjects().Changes("quiet")
	appendRange(t, quiet, 1, 3)
	r := follow(t, b, b.Streams().Changes, subject, 0, broker.LogOptions{})
	e := requireEntries(t, r, 1, 3)
	require.NoError(t, r.Close())
	appendRange(t, busy, 1, 21)
	appendRange(t, quiet, 3, 4)
	purge(t, b, e.Sequence+10)
	resumed := follow(t, b, b.Streams().Changes, subject, e.Sequence+1, broker.LogOptions{})
	requireEntries(t, resumed, 3, 4)
}

func TestReaderNoticesWhatIsTrimmedWhileItReads(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	a := newAppender(t, b, "f", 1)
	r := follow(t, b, b.Streams().Changes, b.Subjects().Changes("f"), 0, broker.LogOptions{})
	// More than a reader takes ahead, so that the broker has to skip.
	const n = 2000
	appendRange(t, a, 1, n)
	requireEntries(t, r, 1, 2)
	last, err := a.LastAppended(testContext(t))
	require.NoError(t, err)
	purge(t, b, last.Sequence)
	for err == nil {
		_, err = r.Next(testContext(t))
	}
	require.ErrorIs(t, err, broker.ErrGap)
}

func TestANewOwnerOfAnEmptiedLogDoesNotHideTheGap(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	a := newAppender(t, b, "f", 1)
	appendRange(t, a, 1, 21)
	r := follow(t, b, b.Streams().Changes, b.Subjects().Changes("f"), 0, broker.LogOptions{})
	e := requireEntries(t, r, 1, 11)
	require.NoError(t, r.Close())
	s, err := b.JetStream().Stream(testContext(t), b.Streams().Changes)
	require.NoError(t, err)
	require.NoError(t, s.Purge(testContext(t)))
	appendRange(t, newAppender(t, b, "f", 2), 21, 22)
	late, err := b.Follow(testContext(t), b.Streams().Changes, b.Subjects().Changes("f"), e.Sequence+1, broker.LogOptions{})
	if err == nil {
		defer func() { require.NoError(t, late.Close()) }()
		_, err = late.Next(testContext(t))
	}
	require.ErrorIs(t, err, broker.ErrGap)
}

func TestCloseSendsWhatIsQueued(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	a, err := b.NewAppender(testContext(t), b.Subjects().Changes("f"), b.Subjects().Owner("f"), 1, broker.AppenderOptions{})
	require.NoError(t, err)
	for i := range uint64(100) {
		_, err := a.Append(testContext(t), i+1, nil)
		require.NoError(t, err)
	}
	require.NoError(t, a.Close(testContext(t)))
	_, err = a.Append(testContext(t), 101, nil)
	require.ErrorIs(t, err, broker.ErrClosed)
	require.EqualValues(t, 101, messagesIn(t, b, b.Streams().Changes), "and the marker")
}

// The broker remembers ids for two minutes; a connection may be away for longer.
func TestAppendWhoseAnswerWasLostIsNotRepeatedWhenTheBrokerHasForgottenItsID(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	p := startProxy(t, strings.TrimPrefix(e.ClientURL(), "nats://"))
	direct, b := connect(t, broker.Options{Embedded: e}), connect(t, broker.Options{URL: p.url()})
	a := newAppender(t, b, "f", 1)
	appendRange(t, a, 1, 2)
	changes, err := direct.JetStream().Stream(testContext(t), b.Streams().Changes)
	require.NoError(t, err)
	config := changes.CachedInfo().Config
	config.Duplicates = 100 * time.Millisecond // the shortest that there is
	_, err = direct.JetStream().UpdateStream(testContext(t), config)
	require.NoError(t, err)

	p.deaf.Store(true)
	f, err := a.Append(testContext(t), 2, []byte("2"))
	require.NoError(t, err)
	await(t, "the broker has it", func() bool { return messagesIn(t, direct, b.Streams().Changes) == 3 })
	probes := newPublisher(t, direct, broker.PublisherOptions{})
	first := uint64(0)
	await(t, "the broker has forgotten what came then", func() bool {
		seq, err := probes.PublishSeq(testContext(t), b.Subjects().Changes("other"), nil, broker.MsgID("probe"))
		require.NoError(t, err)
		defer func() { first = max(first, seq) }()
		return first != 0 && seq != first
	})
	p.hear()

	sequence, err := f.Wait(testContext(t))
	require.NoError(t, err)
	require.EqualValues(t, 3, sequence)
	appendRange(t, a, 3, 4)
	r := follow(t, direct, b.Streams().Changes, b.Subjects().Changes("f"), 0, broker.LogOptions{})
	requireEntries(t, r, 1, 4)
}
