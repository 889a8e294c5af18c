package couch

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"millrace/pkg/pause"
)

// maxWait is the longest single wait, as in CouchDB's replicator.
const maxWait = 300 * time.Second

// maxFailing is how long a request fails before it is given up, whatever retries are left:
// half of the time after which CouchDB's scheduler counts a job as healthy.
const maxFailing = 60 * time.Second

// retry calls try until it succeeds or its error is not worth another try: CouchDB's
// retries_per_request, with waits that double. A 429 is not counted: the process' rate
// limiter says when the server may be asked, and when the attempt is over.
func (db *DB) retry(ctx context.Context, r *request, try func(ctx context.Context) error) error {
	waits := &waits{left: db.opts.Retries, failed: db.backOff()}
	throttle := throttle{limiter: db.limiter, key: db.rateKey(r)}
	attempt := ctx
	for repetition := 1; ; repetition++ {
		if err := throttle.admit(ctx, r); err != nil {
			return err
		}
		err := try(attempt)
		throttle.learn(err)
		if err == nil || ctx.Err() != nil || r.once || Classify(err) != Transient {
			return err
		}
		if !throttle.refused(err) {
			wait, again := waits.next(err)
			if !again {
				return err
			}
			r.announce = r.announce || brokeWhileSending(r, err)
			if err := pause.For(ctx, min(wait, maxWait)); err != nil {
				return &RequestError{Method: r.method, URL: r.url.String(), Err: err}
			}
		}
		if db.opts.Repeating != nil {
			attempt = db.opts.Repeating(ctx, repetition)
		}
	}
}

// waits are those between the tries of one request.
type waits struct {
	left   int // tries that are still allowed
	failed *backoff.ExponentialBackOff
	first  time.Time // when the request first failed
	stale  bool      // a connection was found to have ended
}

// next is how long to wait after an error; again is false when it was one too many.
func (w *waits) next(err error) (wait time.Duration, again bool) {
	var stale *staleError
	switch {
	case errors.As(err, &stale) && !w.stale:
		// The server may have ended the connection because it was idle, and nothing is wrong with it.
		w.stale = true
		return 0, true
	case w.left == 0 || !w.first.IsZero() && time.Since(w.first) > maxFailing:
		return 0, false
	case w.first.IsZero():
		w.first = time.Now()
	}
	w.left--
	var answer *HTTPError
	wait = w.failed.NextBackOff()
	if !errors.As(err, &answer) {
		return wait, true
	}
	// What asks for longer than a request may fail is the job's to wait for.
	return max(wait, answer.RetryAfter), answer.RetryAfter <= maxFailing
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
