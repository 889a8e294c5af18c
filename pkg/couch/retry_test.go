package couch

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRetriesWaitAsCouchDB is CouchDB's schedule: a quarter of a second, doubled each time,
// for as many retries as are allowed but no longer than a minute.
func TestRetriesWaitAsCouchDB(t *testing.T) {
	for _, test := range []struct {
		retries, tries int
		took           time.Duration
	}{
		{-1, 1, 0}, {1, 2, 250 * time.Millisecond}, {0, 6, 7750 * time.Millisecond}, {5, 6, 7750 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			fails := func(http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					tries++
					return &http.Response{StatusCode: 503, Body: io.NopCloser(strings.NewReader(`{}`)), Request: r}, nil
				})
			}
			db, err := Open(Endpoint{URL: "http://h/db"}, Options{Retries: test.retries, Transport: fails})
			require.NoError(t, err)
			began := time.Now()
			_, err = db.Info(context.Background())
			require.True(t, hasStatus(err, 503), err)
			require.Equal(t, test.tries, tries)
			require.InDelta(t, test.took, time.Since(began), float64(test.took)/8) // they are spread a little
		})
	}
}

func TestRequestIsGivenUpAfterAMinuteWhateverRetriesAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := func(http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 503, Body: io.NopCloser(strings.NewReader(`{}`)), Request: r}, nil
			})
		}
		db, err := Open(Endpoint{URL: "http://h/db"}, Options{Retries: 1000, Transport: fails})
		require.NoError(t, err)
		began := time.Now()
		_, err = db.Info(context.Background())
		require.True(t, hasStatus(err, 503), err)
		took := time.Since(began)
		require.Greater(t, took, maxFailing)
		require.Less(t, took, 3*maxFailing, "a last wait may begin before the minute is over")
	})
}

func TestConnectionsAreNoMoreThanAllowed(t *testing.T) {
	var open, most atomic.Int64
	arrived := make(chan struct{}, 100)
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := open.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		arrived <- struct{}{}
		<-release
		open.Add(-1)
		_, _ = io.WriteString(w, `{}`)
	}))
	t.Cleanup(s.Close)
	pool := NewPool(nil)
	a, b := openIn(t, pool, s.URL+"/a", Options{HTTPConnections: 3}), openIn(t, pool, s.URL+"/b", Options{HTTPConnections: 3})
	var all sync.WaitGroup
	for range 5 {
		for _, db := range []*DB{a, b} {
			all.Go(func() { requireInfo(t, db) })
		}
	}
	for range 3 {
		<-arrived
	}
	close(release)
	all.Wait()
	require.EqualValues(t, 3, most.Load(), "for all databases of the server")
}
