package couch

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"

	"millrace/pkg/pause"
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
	waits := &waits{left: db.opts.Retries, failed: db.backOff(), throttled: db.backOff()}
	attempt := ctx
	for repetition := 1; ; repetition++ {
		err := try(attempt)
		if err == nil || ctx.Err() != nil || r.once || Classify(err) != Transient {
			return err
		}
		wait, again := waits.next(err)
		if !again {
			return err
		}
		r.announce = r.announce || brokeWhileSending(r, err)
		if err := pause.For(ctx, min(wait, maxWait)); err != nil {
			return &RequestError{Method: r.method, URL: r.url.String(), Err: err}
		}
		if db.opts.Repeating != nil {
			attempt = db.opts.Repeating(ctx, repetition)
		}
	}
}

// waits are those between the tries of one request.
type waits struct {
	left              int // tries that are still allowed
	failed, throttled *backoff.ExponentialBackOff
	heldUp            time.Duration // in waits that a 429 asked for
	stale             bool          // a connection was found to have ended
}

// next is how long to wait after an error; again is false when it was one too many.
func (w *waits) next(err error) (wait time.Duration, again bool) {
	var stale *staleError
	asked, isThrottle := serverAsks(err)
	switch {
	case errors.As(err, &stale) && !w.stale:
		// The server may have ended the connection because it was idle, and nothing is wrong with it.
		w.stale = true
		return 0, true
	case isThrottle:
		wait = max(asked, w.throttled.NextBackOff())
		w.heldUp += wait
		return wait, w.heldUp <= throttleLimit
	case w.left == 0:
		return 0, false
	}
	w.left--
	return max(asked, w.failed.NextBackOff()), true
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
// connection. Asked with `Expect: 100-continue`, the server answers first. What writes nothing
// is short: a connection that had been used before has ended because it was idle.
func brokeWhileSending(r *request, err error) bool {
	var e *RequestError
	var stale *staleError
	if r.writes == writesNothing && errors.As(err, &stale) {
		return false
	}
	return r.body.open != nil && errors.As(err, &e) && !errors.Is(err, ErrInactive)
}

func (db *DB) backOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = db.opts.RetryInterval
	b.Multiplier = 2
	b.MaxInterval = maxWait
	b.RandomizationFactor = 0.1 // jobs that failed together do not return together
	return b
}
