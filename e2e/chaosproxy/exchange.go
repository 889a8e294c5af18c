package chaosproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// exchange is one request on its way through the proxy.
type exchange struct {
	proxy   *Proxy
	counter *counter
	action  decision
	client  context.Context // done when the client has gone
	answers sync.Once       // the answer begins, or there is none
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

var (
	errCut     = errors.New("cut by a chaosproxy rule")
	errDropped = errors.New("answer dropped by a chaosproxy rule")
)

// serve does to the request what was decided. A panic with http.ErrAbortHandler is
// the http package's way to cut the client's connection.
func (x *exchange) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	defer x.waitsNoMore()
	switch x.action.kind {
	case reply:
		x.reply(w, r)
		return
	case hang:
		// Unread, the body would hide from the http package that the client left.
		_, _ = io.Copy(io.Discard, r.Body)
		x.hang(nil)
		panic(http.ErrAbortHandler)
	case delay:
		x.hang(time.After(x.action.delay))
	case cutRequest:
		r.Body = &meteredBody{ReadCloser: r.Body, limit: x.action.bytes, atLimit: cut}
	}
	r.Body = x.countRequest(wholeBody(r))
	x.counter.add(func(c *Count) { c.Forwarded++ })
	forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
}

// waitsNoMore comes before the client can see anything of the answer, and so before it
// can make the next request.
func (x *exchange) waitsNoMore() { x.answers.Do(x.counter.answered) }

func (x *exchange) reply(w http.ResponseWriter, r *http.Request) {
	// Read the request first, as a server does that refuses what it was sent: a
	// client that is still writing would see a reset instead of the answer.
	_, _ = io.Copy(io.Discard, r.Body)
	for name, values := range x.action.header {
		w.Header()[name] = values
	}
	x.waitsNoMore()
	w.WriteHeader(x.action.status)
	_, _ = io.WriteString(w, x.action.body)
}

// hang waits until done, the removal of the rule, the client's leaving or the
// proxy's end.
func (x *exchange) hang(done <-chan time.Time) {
	select {
	case <-done:
	case <-x.action.rule.removed:
	case <-x.client.Done():
	case <-x.proxy.ctx.Done():
	}
}

// answered does to the server's answer what was decided; an error cuts the
// client's connection.
func (x *exchange) answered(res *http.Response) error {
	x.waitsNoMore()
	switch x.action.kind {
	case dropAnswer:
		// The whole answer first: then the server is surely done with the request.
		_, _ = io.Copy(io.Discard, res.Body)
		return errDropped
	case cutAnswer:
		res.Body = &meteredBody{ReadCloser: res.Body, limit: x.action.bytes, atLimit: cut}
	case hangAnswer:
		res.Body = &meteredBody{ReadCloser: res.Body, limit: x.action.bytes, atLimit: func() error {
			x.hang(nil)
			return errCut
		}}
	}
	res.Body = &meteredBody{ReadCloser: res.Body, limit: -1, passed: func(n int) {
		x.counter.add(func(c *Count) { c.AnswerBytes += int64(n) })
	}}
	return nil
}

func (x *exchange) countRequest(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	return &meteredBody{ReadCloser: body, limit: -1, passed: func(n int) {
		x.counter.add(func(c *Count) { c.RequestBytes += int64(n) })
	}}
}

// wholeBody is the request's body, ending with its last byte. The end that the http
// package would give by one more Read may come too late: a server that has begun to
// answer closes the body, and the transport, still asking for its end, would take
// the error for the client's and cut the answer.
func wholeBody(r *http.Request) io.ReadCloser {
	if r.Body == nil || r.ContentLength <= 0 {
		return r.Body
	}
	return &sizedBody{ReadCloser: r.Body, left: r.ContentLength}
}

// sizedBody is a body of which left bytes are still to come.
type sizedBody struct {
	io.ReadCloser
	left int64
}

func (b *sizedBody) Read(buf []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(buf)
	if b.left -= int64(n); b.left == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func cut() error { return errCut }

// meteredBody tells of the bytes that pass, and after limit of them (-1: no limit)
// fails with what atLimit returns.
type meteredBody struct {
	io.ReadCloser
	limit   int64
	atLimit func() error
	passed  func(n int) // may be nil
}

func (b *meteredBody) Read(buf []byte) (int, error) {
	if b.limit == 0 {
		return 0, b.atLimit()
	}
	if b.limit > 0 && int64(len(buf)) > b.limit {
		buf = buf[:b.limit]
	}
	n, err := b.ReadCloser.Read(buf)
	if b.limit > 0 {
		b.limit -= int64(n)
	}
	if b.passed != nil && n > 0 {
		b.passed(n)
	}
	if b.limit == 0 && errors.Is(err, io.EOF) {
		err = nil // the limit decides how this body ends
	}
	return n, err
}
