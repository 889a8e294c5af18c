package couch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// watchdog fails requests and answers on whose connection nothing moves for limit.
// http.Client has timeouts for whole requests only, which no feed survives.
type watchdog struct {
	next  http.RoundTripper
	limit time.Duration
}

// RoundTrip watches from the moment that the request has a connection: waiting for
// a free one is the pool's doing and not the server's.
func (w *watchdog) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	a := newActivity(w.limit, cancel)
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { a.sending(info.Reused) },
	})
	sent := req.WithContext(traced)
	if req.Body != nil && req.Body != http.NoBody {
		sent.Body = &watchedRequest{ReadCloser: req.Body, activity: a}
	}
	resp, err := w.next.RoundTrip(sent)
	reused := a.answered()
	if err != nil {
		cancel(nil)
		if err = inactive(ctx, err, w.limit); reused && req.Context().Err() == nil && !errors.Is(err, ErrInactive) {
			err = &staleError{err}
		}
		return nil, err
	}
	resp.Body = &watchedAnswer{ReadCloser: resp.Body, activity: a, ctx: ctx, cancel: cancel, limit: w.limit}
	return resp, nil
}

// staleError is the failure of a request on a connection that had been used before: most
// likely the server ended it just then, because it was idle, and nothing is wrong with the server.
type staleError struct{ error }

// Unwrap returns the cause.
func (e *staleError) Unwrap() error { return e.error }

// inactive replaces what cancelling did to the connection by why it was cancelled.
func inactive(ctx context.Context, err error, limit time.Duration) error {
	if context.Cause(ctx) == ErrInactive {
		return fmt.Errorf("%w for %v", ErrInactive, limit)
	}
	return err
}

// activity cancels a request that is stuck. Its timer runs only while the server
// is awaited.
type activity struct {
	limit time.Duration

	mu    sync.Mutex
	timer *time.Timer
	sends bool // between getting a connection and the answer's head
	// reused: the connection had been used before
	reused bool
}

func newActivity(limit time.Duration, cancel context.CancelCauseFunc) *activity {
	a := &activity{limit: limit, timer: time.AfterFunc(limit, func() { cancel(ErrInactive) })}
	a.timer.Stop()
	return a
}

func (a *activity) sending(reused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sends, a.reused = true, reused
	a.timer.Reset(a.limit)
}

func (a *activity) answered() (reused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sends = false
	a.timer.Stop()
	return a.reused
}

// reading pauses the timer while the request's body is produced, and done starts
// it again. An answer may come while the body is still being sent; then neither matters.
func (a *activity) reading() { a.whileSending(func() { a.timer.Stop() }) }
func (a *activity) done()    { a.whileSending(func() { a.timer.Reset(a.limit) }) }

func (a *activity) whileSending(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sends {
		f()
	}
}

// watchedRequest is the body of a request.
type watchedRequest struct {
	io.ReadCloser
	activity *activity
}

func (b *watchedRequest) Read(p []byte) (int, error) {
	b.activity.reading()
	defer b.activity.done()
	return b.ReadCloser.Read(p)
}

// watchedAnswer is the body of an answer.
type watchedAnswer struct {
	io.ReadCloser
	activity *activity
	ctx      context.Context // the request's, to tell why reading failed
	cancel   context.CancelCauseFunc
	limit    time.Duration
}

func (b *watchedAnswer) Read(p []byte) (int, error) {
	b.activity.timer.Reset(b.limit)
	n, err := b.ReadCloser.Read(p)
	b.activity.timer.Stop()
	if err != nil && err != io.EOF {
		err = inactive(b.ctx, err, b.limit)
	}
	return n, err
}

// Close frees the connection, whatever is still to come on it.
func (b *watchedAnswer) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
