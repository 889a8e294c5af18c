package couch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/go-kivik/kivik/v4/couchdb/chttp"
)

// server is a server's root, its connections, and the log-in to it.
type server struct {
	root        *url.URL
	connections *connections
	base        http.Client // without authentication
	tokens      *accounts

	renewing sync.Mutex // held while the log-in is renewed

	mu     sync.Mutex
	login  login
	secret Credentials // what login uses
}

func newServer(ep Endpoint, root *url.URL, o Options, tokens *accounts) (*server, error) {
	pool, err := newConnections(o)
	if err != nil {
		return nil, err
	}
	var chain http.RoundTripper = &watchdog{next: pool, limit: o.ConnectionTimeout}
	chain = &identity{next: chain, root: root, userAgent: o.UserAgent, headers: ep.Headers}
	if o.Transport != nil {
		chain = o.Transport(chain)
	}
	secret := ep.credentials() != Credentials{} || ep.Renewal != nil || len(ep.Headers) > 0 || o.TLS.Cert != ""
	chain = &redirects{next: chain, secret: secret}
	s := &server{root: root, connections: pool, tokens: tokens, base: http.Client{
		Transport:     chain,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	s.secret = ep.credentials()
	s.login, err = s.newLogin(s.secret, o)
	return s, err
}

func (s *server) newLogin(c Credentials, o Options) (login, error) {
	switch {
	case c.Username != "":
		return newPassword(s.base, s.root, c.Username, c.Password)
	case c.Token != "":
		return &bearer{base: s.base, root: s.root, tokens: always(c.Token)}, nil
	case c.IAM.APIKey != "":
		account, err := s.tokens.openAccount(c.IAM, o)
		if err != nil {
			return nil, err
		}
		return &bearer{base: s.base, root: s.root, tokens: account.token}, nil
	}
	client := s.base
	return anonymous{client: &client}, nil
}

// do sends the request that build makes, logging in as needed. Where the server does not
// take the credentials and renew has others meanwhile, those are used from then on. writes says
// what the request writes.
func (s *server) do(ctx context.Context, renew *Renewal, o Options, writes written, build builder) (*http.Response, error) {
	used := s.current()
	resp, err := used.do(ctx, writes, build)
	if token, ok := used.(*bearer); ok && err == nil && writes != writesNothing && mayBlameToken(resp.StatusCode) {
		if _, refused := token.known(ctx); refused != nil {
			discard(resp.Body)
			resp, err = nil, refused
		}
	}
	if renew == nil || !refusesLogin(resp, err) {
		return resp, err
	}
	fresh, changed := s.renew(ctx, renew, o, used)
	if !changed {
		return resp, err
	}
	if err == nil {
		discard(resp.Body)
	}
	return fresh.do(ctx, writes, build)
}

func (s *server) current() login {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.login
}

// renew replaces the log-in that was refused, if another one has not done so already.
func (s *server) renew(ctx context.Context, renew *Renewal, o Options, used login) (fresh login, changed bool) {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	if l := s.current(); l != used {
		return l, true
	}
	c, err := renew.Credentials(ctx)
	if err != nil || c == s.secret { // the server's refusal is what the caller is told
		return used, false
	}
	l, err := s.newLogin(c, o)
	if err != nil {
		return used, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login, s.secret = l, c
	return l, true
}

// refusesLogin reports whether the server, or whoever gives tokens for it, does not know the
// credentials.
func refusesLogin(resp *http.Response, err error) bool {
	if err == nil {
		return resp.StatusCode == http.StatusUnauthorized
	}
	var session *chttp.HTTPError
	var token *HTTPError
	switch {
	case errors.As(err, &session):
		return session.HTTPStatus() == http.StatusUnauthorized || session.HTTPStatus() == http.StatusForbidden
	case errors.As(err, &token):
		return Classify(token) == Permanent
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
