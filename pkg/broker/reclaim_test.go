package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A replica that has just become the leader may refuse an append because it does not know
// the marker yet that the others have: that is no takeover.
func TestOwnerWhoseMarkerIsTheNewestIsNotFenced(t *testing.T) {
	e, err := StartEmbedded(t.Context(), EmbeddedOptions{DataDir: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	b, err := Connect(t.Context(), Options{Embedded: e})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close(t.Context())) }()
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
