package broker

import (
	"bytes"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Whatever the headers of a large message say, what is read is what was stored under them,
// or is said to be lost.
func FuzzClaim(f *testing.F) {
	e, err := StartEmbedded(f.Context(), EmbeddedOptions{DataDir: f.TempDir()})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, e.Close()) })
	b, err := Connect(f.Context(), Options{Embedded: e})
	require.NoError(f, err)
	f.Cleanup(b.conn.Close)
	content := bytes.Repeat([]byte("0123456789"), 150_000)
	m, err := b.checkIn(f.Context(), &nats.Msg{Subject: "s", Header: nats.Header{}, Data: content})
	require.NoError(f, err)
	h := m.Header
	keys := []string{headerClaim, headerClaimFirst, headerClaimChunks, headerClaimSize, headerClaimSum}
	f.Add(h.Get(headerClaim), h.Get(headerClaimFirst), h.Get(headerClaimChunks), h.Get(headerClaimSize), h.Get(headerClaimSum))
	for i := range keys {
		for _, value := range []string{"", "0", "-1", "99999999999999999999", "*", "1e3"} {
			v := []string{h.Get(keys[0]), h.Get(keys[1]), h.Get(keys[2]), h.Get(keys[3]), h.Get(keys[4])}
			v[i] = value
			f.Add(v[0], v[1], v[2], v[3], v[4])
		}
	}
	f.Fuzz(func(t *testing.T, id, first, chunks, size, sum string) {
		if id == "" {
			return // no claim
		}
		header := nats.Header{}
		for i, value := range []string{id, first, chunks, size, sum} {
			header.Set(keys[i], value)
		}
		got, err := b.checkOut(t.Context(), header, nil)
		switch {
		case errors.Is(err, ErrClaimLost):
		case err != nil:
			t.Fatal(err)
		case sum == h.Get(headerClaimSum) && bytes.Equal(got, content):
		case len(got) == 0: // nothing was stored under these headers
		default:
			t.Fatalf("%d bytes that nobody stored", len(got))
		}
		require.Empty(t, withoutClaim(header))
	})
}
