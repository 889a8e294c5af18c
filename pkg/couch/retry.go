package couch

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// throttleLimit bounds the time that a request spends in waits that a 429 asked for. CouchDB's
// replicator gives up after about as long (148 s from the first 429 to its
// max_backoff); then the job backs off as a whole.
const throttleLimit = 150 * time.Second

// maxWait is the longest single wait, as in CouchDB's replicator.
const maxWait = 300 * time.Second

// retry calls try until it succeeds or its error is not worth another try: CouchDB's
// retries_per_request, with waits that double. A 429 is not counted, and its
// Retry-After is obeyed.
func (db *DB) retry(ctx context.Context, r *request, try func(ctx context.Context) error) error {
	failed, throttled := db.waits(), db.waits()
	var tries int
	var heldUp time.Duration
	attempt := ctx
	for repetition := 1; ; repetition++ {
		err := try(attempt)
		if err == nil || ctx.Err() != nil || r.once || Classify(err) != Transient {
			return err
		}
		asked, isThrottle := serverAsks(err)
		var wait time.Duration
		if isThrottle {
			wait = max(asked, throttled.NextBackOff())
			heldUp += wait
			if heldUp > throttleLimit {
				return err
			}
		} else {
			if tries == db.opts.Retries {
				return err
			}
			tries++
			wait = max(asked, failed.NextBackOff())
		}
		r.announce = r.announce || brokeWhileSending(r, err)
		if err := sleep(ctx, min(wait, maxWait)); err != nil {
			return &RequestError{Method: r.method, URL: r.url.String(), Err: err}
		}
		if db.opts.Repeating != nil {
			attempt = db.opts.Repeating(ctx, repetition)
		}
	}
}

// serverAsks is how long the answer asks to wait, and whether it is a 429.
func serverAsks(err error) (time.Duration, bool) {
	var e *HTTPError
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.RetryAfter, e.Status == http.StatusTooManyRequests
}

// brokeWhileSending reports whether the connection may have been broken by a server
// that refused the body by its length: such an answer is often lost with the
// connection. Asked with `Expect: 100-continue`, the server answers first.
func brokeWhileSending(r *request, err error) bool {
	var e *RequestError
	return r.body.open != nil && errors.As(err, &e) && !errors.Is(err, ErrInactive)
}

func (db *DB) waits() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = db.opts.RetryInterval
	b.Multiplier = 2
	b.MaxInterval = maxWait
	b.RandomizationFactor = 0.1 // jobs that failed together do not return together
	return b
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
