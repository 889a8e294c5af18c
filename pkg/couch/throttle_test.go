package couch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace/pkg/ratelimit"
)

// throttled is a server that refuses, until it is told otherwise, and asks for a wait.
func throttled(t *testing.T, retryAfter string) (pool *Pool, url string, asked *atomic.Int64, relent *atomic.Bool) {
	t.Helper()
	asked, relent = new(atomic.Int64), new(atomic.Bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if relent.Load() {
			_, _ = io.WriteString(w, `{"db_name":"db"}`)
			return
		}
		w.Header().Set("Retry-After", retryAfter)
		status(429, `{"error":"too_many_requests","reason":"slow down"}`)(w, nil)
	}))
	t.Cleanup(s.Close)
	return NewPool(nil), s.URL, asked, relent
}

func openIn(t *testing.T, pool *Pool, url string, o Options) *DB {
	t.Helper()
	db, err := pool.Open(Endpoint{URL: url}, o)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

func TestJobsOfAProcessShareARefusal(t *testing.T) {
	pool, url, asked, relent := throttled(t, "3600")
	ctx := context.Background()
	one, other := openIn(t, pool, url+"/db", Options{}), openIn(t, pool, url+"/db", Options{HTTPConnections: 2})
	_, err := one.Info(ctx)
	require.ErrorIs(t, err, ErrMaxBackoff)
	require.ErrorContains(t, err, "max_backoff: GET "+url+"/db: 429 too_many_requests: slow down")
	require.EqualValues(t, 1, asked.Load())
	relent.Store(true)
	_, err = other.Info(ctx)
	var refusal *ThrottledError
	require.ErrorAs(t, err, &refusal)
	require.Greater(t, refusal.RetryAfter, 50*time.Minute)
	require.Equal(t, Transient, Classify(err))
	require.EqualValues(t, 1, asked.Load(), "it was not asked: another job has been told to wait")
	_, err = other.EnsureFullCommit(ctx)
	require.NoError(t, err, "another method has a rate of its own")
	requireInfo(t, openIn(t, pool, url+"/elsewhere", Options{}))
}

func TestMaxBackoffEndsTheAttempt(t *testing.T) {
	pool, url, asked, relent := throttled(t, "")
	c := &clock{at: time.Now()}
	pool.limiter = ratelimit.New(c.now)
	db := openIn(t, pool, url+"/db", Options{})
	key := db.rateKey(db.request(http.MethodGet, ""))
	for pool.limiter.Interval(key) < ratelimit.MaxInterval {
		pool.limiter.Failure(key, 0)
		c.pass(100 * time.Millisecond)
	}
	relent.Store(true)
	_, err := db.Info(context.Background())
	require.ErrorIs(t, err, ErrMaxBackoff)
	require.NotErrorAs(t, err, new(*HTTPError))
	require.Zero(t, asked.Load())
	c.pass(2 * ratelimit.MaxInterval)
	requireInfo(t, db)
}

func TestRequestIsAdmittedWhenTheWaitIsOver(t *testing.T) {
	pool, url, asked, relent := throttled(t, "1")
	db := openIn(t, pool, url+"/db", Options{Retries: -1, Repeating: func(ctx context.Context, _ int) context.Context {
		relent.Store(true)
		return ctx
	}})
	requireInfo(t, db)
	require.EqualValues(t, 2, asked.Load(), "a 429 is not counted among the retries")
}

func TestWaitEndsWithItsContext(t *testing.T) {
	pool, url, _, _ := throttled(t, "60")
	ctx, cancel := context.WithCancel(context.Background())
	db := openIn(t, pool, url+"/db", Options{Transport: nil})
	db.limiter.Failure(db.rateKey(db.request(http.MethodGet, "")), time.Minute)
	cancel()
	_, err := db.Info(ctx)
	require.True(t, errors.Is(err, context.Canceled), err)
}
