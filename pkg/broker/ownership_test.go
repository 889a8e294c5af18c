package broker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func startBroker(t *testing.T) *Broker {
	t.Helper()
	e, err := StartEmbedded(t.Context(), EmbeddedOptions{DataDir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	b, err := Connect(t.Context(), Options{Embedded: e})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close(context.Background())) })
	return b
}

// A replica that has just become the leader may refuse an append because it does not know
// the marker yet that the others have: that is no takeover.
func TestOwnerWhoseMarkerIsTheNewestIsNotFenced(t *testing.T) {
	b := startBroker(t)
	subject, owner := b.Subjects().Changes("f"), b.Subjects().Owner("f")
	a, err := b.NewAppender(t.Context(), subject, owner, 1, AppenderOptions{})
	require.NoError(t, err)
	marker := a.Marker()
	require.NoError(t, a.reclaim(t.Context()))
	require.Equal(t, marker, a.Marker())

	next, err := b.NewAppender(t.Context(), subject, owner, 1, AppenderOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, a.reclaim(t.Context()), ErrFenced, "another with the same epoch is another")
	require.NoError(t, next.Close(t.Context()))
	require.NoError(t, a.Close(t.Context()))
}

// The end may come at the moment at which something is queued: whoever looks at both sees
// the end first, or not.
func TestWhatIsQueuedWhenAnAppenderEndsIsToldSo(t *testing.T) {
	b := startBroker(t)
	for epoch := range uint64(20) {
		a, err := b.NewAppender(t.Context(), b.Subjects().Changes("f"), b.Subjects().Owner("f"), epoch+1, AppenderOptions{})
		require.NoError(t, err)
		first, err := a.Append(t.Context(), 1, nil)
		require.NoError(t, err)
		_, err = first.Wait(t.Context())
		require.NoError(t, err)
		q := &queuedAppend{ordinal: 2, m: newMessage(a.subject, nil, nil), weight: 1, future: newFuture()}
		require.NoError(t, a.window.Acquire(t.Context(), q.weight))
		a.mu.Lock()
		a.queue = append(a.queue, q)
		a.mu.Unlock()
		a.end(ErrClosed)
		select {
		case <-q.future.Done():
		case <-time.After(time.Minute):
			t.Fatal("nobody says what became of the entry")
		}
		a.done.Wait()
	}
}
