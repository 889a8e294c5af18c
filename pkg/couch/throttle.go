package couch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"millrace/pkg/pause"
	"millrace/pkg/ratelimit"
)

// ErrMaxBackoff is wrapped by the errors of requests that are given up because the server answers
// 429 to all that is asked of it. The word is that of CouchDB's replicator.
var ErrMaxBackoff = errors.New("max_backoff")

// ThrottledError is a request that was given up, or not even sent, because the server
// refuses too much. It wraps [ErrMaxBackoff], and the last refusal if the request was sent.
type ThrottledError struct {
	Method string
	// URL is the request's address without its query (invariant 9).
	URL string
	// RetryAfter is how long the server asks to wait, zero if it does not say.
	RetryAfter time.Duration
	// Last is the newest 429, nil if others than this request met them.
	Last error
}

func (e *ThrottledError) Error() string {
	if e.Last != nil {
		return fmt.Sprintf("%v: %v", ErrMaxBackoff, e.Last)
	}
	return fmt.Sprintf("%v: %s %s: not sent, the server answers 429", ErrMaxBackoff, e.Method, e.URL)
}

// Unwrap returns the causes.
func (e *ThrottledError) Unwrap() []error {
	if e.Last != nil {
		return []error{ErrMaxBackoff, e.Last}
	}
	return []error{ErrMaxBackoff}
}

// rateKey is what the request has a rate with: database and method, as in CouchDB.
func (db *DB) rateKey(r *request) ratelimit.Key {
	if r.ofServer {
		return ratelimit.Key{URL: r.url.String(), Method: r.method}
	}
	return ratelimit.Key{URL: db.at("").String(), Method: r.method}
}

// throttle is a request's part in the rate of its database.
type throttle struct {
	limiter *ratelimit.Limiter
	key     ratelimit.Key
	last    error // the newest 429
}

// admit waits until the request may be sent. The error is a *[ThrottledError], or a
// *[RequestError] when ctx ends.
func (t *throttle) admit(ctx context.Context, r *request) error {
	for {
		wait, ok := t.limiter.Admit(t.key)
		switch {
		case !ok:
			return &ThrottledError{Method: r.method, URL: r.url.String(), RetryAfter: wait, Last: t.last}
		case wait == 0:
			return nil
		}
		if err := pause.For(ctx, wait); err != nil {
			return &RequestError{Method: r.method, URL: r.url.String(), Err: err}
		}
	}
}

// learn tells the limiter how the server has answered, if it has.
func (t *throttle) learn(err error) {
	var answer *HTTPError
	switch {
	case t.refused(err):
		errors.As(err, &answer)
		t.last = err
		t.limiter.Failure(t.key, answer.RetryAfter)
	case err == nil, errors.As(err, &answer) && !transientStatus(answer.Status):
		t.limiter.Success(t.key)
	}
}

// refused reports whether the error is a 429, whoever answers it on the way to the database.
func (*throttle) refused(err error) bool {
	var answer *HTTPError
	return errors.As(err, &answer) && answer.Status == http.StatusTooManyRequests
}
