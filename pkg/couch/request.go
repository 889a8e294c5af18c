package couch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-kivik/kivik/v4/couchdb/chttp"
)

const typeJSON = "application/json"

// request is a request that can be sent several times.
type request struct {
	method string
	url    *url.URL // without a query, so that it can stand in errors (invariant 9)
	query  url.Values
	header http.Header // beyond Accept and Content-Type, which default to JSON
	body   body
	// expect lists the statuses that are no errors; empty means every 2xx.
	expect []int
	// writes says what the request writes, for the classification of errors.
	writes written
	// once forbids sending again what may have been done already.
	once bool
	// ofServer says that the request is not about the database: it has a rate of its own.
	ofServer bool
	// announce asks the server before sending the body. It is set after a connection broke.
	announce bool
}

// body is what a request sends.
type body struct {
	open   func() (io.ReadCloser, error) // nil for no body
	length int64                         // in bytes, exactly
}

// bytesBody sends the parts one after another. A read is filled from as many parts as it
// takes: net/http writes to the socket what each read returns, and a write for each of
// a thousand documents costs more than the documents.
func bytesBody(parts ...[]byte) body {
	var length int64
	for _, p := range parts {
		length += int64(len(p))
	}
	return body{length: length, open: func() (io.ReadCloser, error) {
		unread := net.Buffers(slices.Clone(parts)) // reading forgets what was read
		return io.NopCloser(&unread), nil
	}}
}

// request makes a request for a path below the database; segments are escaped already.
func (db *DB) request(method, path string) *request {
	return &request{method: method, url: db.at(path), header: http.Header{}}
}

// build makes the request in net/http's form.
func (r *request) build(ctx context.Context) (*http.Request, error) {
	u := *r.url
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", typeJSON)
	if r.body.open != nil {
		req.Header.Set("Content-Type", typeJSON)
	}
	if r.body.length > 0 { // net/http sends a body of length 0 as one of unknown length
		req.ContentLength = r.body.length
		req.GetBody = r.body.open
		if req.Body, err = r.body.open(); err != nil {
			return nil, err
		}
		if r.announce {
			req.Header.Set("Expect", "100-continue")
		}
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	return req, nil
}

// expects reports whether the status is not an error.
func (r *request) expects(status int) bool {
	if len(r.expect) == 0 {
		return status >= 200 && status < 300
	}
	return slices.Contains(r.expect, status)
}

// open sends the request, again where that is worth it, until the head of an
// answer is accepted. The caller closes the answer's body.
func (db *DB) open(ctx context.Context, r *request) (*http.Response, error) {
	var resp *http.Response
	err := db.retry(ctx, r, func(ctx context.Context) (err error) {
		resp, err = db.try(ctx, r)
		return err
	})
	return resp, err
}

// call is open for answers that are read at once: one that read cannot read to its
// end is requested again. A nil read ignores the body.
func (db *DB) call(ctx context.Context, r *request, read func(io.Reader) error) error {
	return db.retry(ctx, r, func(ctx context.Context) error {
		resp, err := db.try(ctx, r)
		if err != nil {
			return err
		}
		defer discard(resp.Body)
		if read == nil {
			return nil
		}
		if err := read(resp.Body); err != nil {
			return r.cut(err)
		}
		return nil
	})
}

// try sends the request once.
func (db *DB) try(ctx context.Context, r *request) (*http.Response, error) {
	resp, err := db.server.do(ctx, db.endpoint.Renewal, db.opts, r.writes, r.build)
	if err != nil {
		return nil, db.failed(r, err)
	}
	if !r.expects(resp.StatusCode) {
		defer discard(resp.Body)
		return nil, newHTTPError(r, resp)
	}
	return resp, nil
}

// failed is the error for a request without an answer. Log-in requests are sent
// inside of it, and their refusal is an answer too.
func (db *DB) failed(r *request, err error) error {
	var login *chttp.HTTPError
	if errors.As(err, &login) {
		return &HTTPError{
			Method:     http.MethodPost,
			URL:        db.server.root.String() + "/_session",
			Status:     login.HTTPStatus(),
			Err:        http.StatusText(login.HTTPStatus()),
			Reason:     login.Reason,
			RetryAfter: retryAfter(login.Response.Header.Get("Retry-After")),
		}
	}
	return r.failed(err)
}

// failed is the error for a request that net/http has no answer for.
func (r *request) failed(err error) error {
	var answer *HTTPError // of a proxy, or of who gives tokens
	var redirect *redirectError
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &redirect):
		return &HTTPError{
			Method: r.method, URL: r.url.String(), Status: redirect.status,
			Err: http.StatusText(redirect.status), Reason: redirect.reason,
		}
	}
	// A url.Error repeats the method and the URL, with its query (invariant 9).
	for {
		var wrapped *url.Error
		if !errors.As(err, &wrapped) {
			return &RequestError{Method: r.method, URL: r.url.String(), Err: err}
		}
		err = wrapped.Err
	}
}

// cut is the error for an answer that could not be read to its end.
func (r *request) cut(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &CutError{Method: r.method, URL: r.url.String(), Err: err}
}
