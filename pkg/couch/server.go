package couch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/go-kivik/kivik/v4/couchdb/chttp"
	"github.com/go-kivik/kivik/v4/driver"
)

// maxRedirects is how many redirects are followed for one request.
const maxRedirects = 10

// server is a server's root, its connections, and the log-in to it.
type server struct {
	root        *url.URL
	connections *connections
	// session logs in for a cookie. It is nil without credentials.
	session *http.Client
	// direct sends Basic credentials with every request, or none if there are none.
	direct *http.Client
	// sessionless is set once the server has turned out to take Basic only.
	sessionless atomic.Bool
}

func newServer(ep Endpoint, root *url.URL, o Options) (*server, error) {
	pool := newConnections(o)
	var chain http.RoundTripper = &watchdog{next: pool, limit: o.ConnectionTimeout}
	chain = &identity{next: chain, root: root, userAgent: o.UserAgent, headers: ep.Headers}
	if o.Transport != nil {
		chain = o.Transport(chain)
	}
	s := &server{root: root, connections: pool}
	base := http.Client{Transport: chain, CheckRedirect: redirectPolicy(ep)}
	if ep.Username == "" {
		s.direct = &base
		return s, nil
	}
	var err error
	if s.direct, err = authenticated(base, root, chttp.BasicAuth(ep.Username, ep.Password)); err != nil {
		return nil, err
	}
	base.Jar = &sessionJar{root: root}
	s.session, err = authenticated(base, root, chttp.CookieAuth(ep.Username, ep.Password))
	return s, err
}

// authenticated returns the client with kivik's authentication in its transport.
// The credentials are passed beside the URL, so that the URL stays printable.
func authenticated(client http.Client, root *url.URL, auth driver.Options) (*http.Client, error) {
	c, err := chttp.New(&client, root.String(), auth)
	if err != nil {
		return nil, fmt.Errorf("set up authentication: %w", err)
	}
	return c.Client, nil
}

// redirectPolicy follows redirects that keep the request's method (GET and HEAD by
// any of them, others by 307 and 308) and do not carry credentials to another host
// or out of encryption (invariant 9). Of others, the redirect itself is the answer.
func redirectPolicy(ep Endpoint) func(*http.Request, []*http.Request) error {
	secret := ep.Username != "" || len(ep.Headers) > 0
	return func(req *http.Request, via []*http.Request) error {
		first := via[0]
		elsewhere := !strings.EqualFold(req.URL.Hostname(), first.URL.Hostname()) || weaker(first.URL, req.URL)
		if req.Method == first.Method && (!secret || !elsewhere) && len(via) <= maxRedirects {
			return nil
		}
		// net/http has opened the body already and forgets it; kivik's log-in body is
		// written by a goroutine that would wait for ever.
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return http.ErrUseLastResponse
	}
}

// do sends the request that build makes, logging in as needed. build is called
// again where the request has to be sent again: after the server has shown that it
// has no sessions, and after it has refused a session that had ended.
func (s *server) do(build func() (*http.Request, error)) (*http.Response, error) {
	if s.session == nil || s.sessionless.Load() {
		return send(s.direct, build)
	}
	resp, err := send(s.session, build)
	switch {
	case sessionRefused(err):
		resp, err = send(s.direct, build)
		if err == nil && resp.StatusCode != http.StatusUnauthorized {
			s.sessionless.Store(true)
		}
	case err == nil && resp.StatusCode == http.StatusUnauthorized:
		// kivik has dropped the cookie and logs in anew; it does not send again.
		discard(resp.Body)
		return send(s.session, build)
	}
	return resp, err
}

func send(client *http.Client, build func() (*http.Request, error)) (*http.Response, error) {
	req, err := build()
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// sessionRefused reports whether err is a refusal to log in that Basic may not meet: the
// server has no sessions, or wants a valid user before it gives one
// (require_valid_user).
func sessionRefused(err error) bool {
	var e *chttp.HTTPError
	if !errors.As(err, &e) {
		return false
	}
	switch e.HTTPStatus() {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

func (s *server) close() { s.connections.close() }

// discardLimit bounds what is read of an answer nobody needs, in bytes. To read it
// is cheaper than to open another connection up to about here.
const discardLimit = 16 << 10

// discard closes an answer's body and keeps its connection if little is left.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, discardLimit)
	_ = body.Close()
}
