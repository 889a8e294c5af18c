package couch

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPoolSharesTheSessionOfAServer(t *testing.T) {
	auth := &couchAuth{}
	s := httptest.NewServer(auth)
	t.Cleanup(s.Close)
	pool := NewPool(nil)
	open := func(name, user string, o Options) *DB {
		db, err := pool.Open(Endpoint{URL: s.URL + "/" + name, Username: user, Password: "p@"}, o)
		require.NoError(t, err)
		_, err = db.Info(context.Background())
		require.Equal(t, user != "u", err != nil)
		return db
	}
	a, b := open("a", "u", Options{}), open("b", "u", Options{Retries: 3})
	require.Equal(t, 1, auth.logins)
	require.Len(t, pool.servers, 1)
	other := open("a", "v", Options{})
	slow := open("a", "u", Options{ConnectionTimeout: time.Minute})
	require.Len(t, pool.servers, 3)
	require.Equal(t, "a", a.Name())
	require.Equal(t, "b", b.Name())
	for _, db := range []*DB{a, a, other, slow} {
		db.Close()
	}
	require.Len(t, pool.servers, 1, "closing twice gives up one use")
	_, err := b.Info(context.Background())
	require.NoError(t, err)
	b.Close()
	require.Empty(t, pool.servers)
}

func TestFeedsDoNotTakeTheConnectionsOfOthers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/db/_changes" {
			_, _ = io.WriteString(w, `{}`)
			return
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	db := openAt(t, s.URL+"/db", Options{HTTPConnections: 1})
	for range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		c, err := db.Changes(ctx, ChangesOptions{Feed: FeedContinuous})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
	}
	_, err := db.Info(context.Background())
	require.NoError(t, err)
}
