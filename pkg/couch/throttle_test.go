package couch

import (
	"context"
	"errors"
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

// limited is a server, without a network, that takes a request each 500 ms.
type limited struct {
	mu             sync.Mutex
	last           time.Time
	taken, refused int
}

func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	resp := &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(`{"db_name":"db"}`)), Request: r}
	if time.Since(l.last) < 500*time.Millisecond {
		l.refused++
		resp.StatusCode = http.StatusTooManyRequests
		return resp, nil
	}
	l.taken++
	l.last = time.Now()
	return resp, nil
}

// Whether one request is made at a time or forty by four jobs, the server is asked about as often.
func TestRateDoesNotDependOnTheNumberOfJobs(t *testing.T) {
	const requests = 400
	for _, jobs := range []int{1, 4} {
		for _, each := range []int{1, 10} {
			synctest.Test(t, func(t *testing.T) {
				server := &limited{}
				pool := NewPool(func(http.RoundTripper) http.RoundTripper { return server })
				began := time.Now()
				var all sync.WaitGroup
				for job := range jobs {
					db, err := pool.Open(Endpoint{URL: "http://h/db"}, Options{HTTPConnections: 10 + job})
					require.NoError(t, err)
					for range each {
						all.Go(func() {
							for range requests / jobs / each {
								requireInfo(t, db)
							}
						})
					}
				}
				all.Wait()
				took := time.Since(began)
				t.Logf("%d jobs of %d requests at once: %d taken, %d refused in %v", jobs, each, server.taken, server.refused, took)
				require.Equal(t, requests, server.taken)
				require.Less(t, server.refused, requests*2/3)
				require.Less(t, took, requests*time.Second, "twice what the server takes at best")
			})
		}
	}
}
