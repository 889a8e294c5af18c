package couch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/go-kivik/kivik/v4/couchdb/chttp"
	"github.com/go-kivik/kivik/v4/driver"
)

// login sends requests as somebody.
type login interface {
	// do sends the request that build makes, logging in as needed. build is called
	// again where the request has to be sent again. writes says what the request writes.
	do(ctx context.Context, writes written, build builder) (*http.Response, error)
	// known asks the server whether it knows who logs in, when it has refused what might be a
	// document: documents must not be recorded as rejected because a session or a token has ended.
	// Where it does not, the next request has another session; the error is that of a token, which
	// only somebody else can replace. A server that cannot be asked is taken at its word.
	known(ctx context.Context) (bool, error)
	// present is what is sent now: another one where the session or the token has been replaced.
	present() string
}

// builder makes a request, as often as it has to be sent.
type builder func(ctx context.Context) (*http.Request, error)

func send(ctx context.Context, client *http.Client, build builder) (*http.Response, error) {
	req, err := build(ctx)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// anonymous sends requests as they are.
type anonymous struct{ client *http.Client }

func (a anonymous) do(ctx context.Context, _ written, build builder) (*http.Response, error) {
	return send(ctx, a.client, build)
}

func (a anonymous) known(context.Context) (bool, error) { return true, nil }

func (a anonymous) present() string { return "" }

// whoAmI asks the server who it takes the sender for.
func whoAmI(root *url.URL) *request {
	u := at(root, root.EscapedPath()+"/_session")
	return &request{method: http.MethodGet, url: u, header: http.Header{}}
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

// password logs in with a user and a password: for a session where the server has
// them, and else with Basic.
type password struct {
	root            *url.URL
	jar             *sessionJar
	session, direct *http.Client
	// sessionless is set once the server has turned out to take Basic only.
	sessionless atomic.Bool
	// guarded is set once the server has turned out to want a valid user even of who
	// logs in (require_valid_user).
	guarded atomic.Bool
}

func newPassword(base http.Client, root *url.URL, user, secret string) (*password, error) {
	p := &password{root: root, jar: newSessionJar(root)}
	var err error
	if p.direct, err = authenticated(base, root, chttp.BasicAuth(user, secret)); err != nil {
		return nil, err
	}
	base.Jar = p.jar
	base.Transport = &sessionTransport{
		next: base.Transport, jar: p.jar, login: root.EscapedPath() + "/_session",
		user: user, password: secret, guarded: &p.guarded,
	}
	p.session, err = authenticated(base, root, chttp.CookieAuth(user, secret))
	return p, err
}

func (p *password) do(ctx context.Context, writes written, build builder) (*http.Response, error) {
	if p.sessionless.Load() {
		return send(ctx, p.direct, build)
	}
	resp, sent, err := p.inSession(ctx, build)
	if wantsValidUser(err) && p.guarded.CompareAndSwap(false, true) {
		resp, sent, err = p.inSession(ctx, build)
	}
	switch {
	case lacksSessions(err):
		return p.basic(ctx, build)
	case err != nil || resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden:
		return resp, err
	case writes != writesNothing && sent != "" && sent == p.jar.present():
		if known, _ := p.known(ctx); known {
			return resp, nil // it is the document that is refused
		}
		discard(resp.Body)
		resp, _, err = p.inSession(ctx, build)
	case p.jar.refused(sent):
		discard(resp.Body)
		resp, _, err = p.inSession(ctx, build)
	case p.jar.present() == "": // the server took the log-in and gave no session
		discard(resp.Body)
		return p.basic(ctx, build)
	}
	return resp, err
}

// known implements [login]. The server is not asked again for a while when it knows the session.
func (p *password) known(ctx context.Context) (bool, error) {
	if p.sessionless.Load() || p.jar.isSound() {
		return true, nil
	}
	resp, sent, err := p.inSession(ctx, whoAmI(p.root).build)
	if err != nil {
		return true, nil
	}
	defer discard(resp.Body)
	var said struct {
		User struct {
			Name *string `json:"name"`
		} `json:"userCtx"`
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if err := into(&said)(resp.Body); err != nil || said.User.Name != nil {
			p.jar.sound(sent)
			return true, nil
		}
	case http.StatusUnauthorized, http.StatusForbidden:
	default:
		return true, nil
	}
	return !p.jar.refused(sent), nil
}

func (p *password) present() string { return p.jar.present() }

// basic sends the request without a session, and so all that follow if it is answered.
func (p *password) basic(ctx context.Context, build builder) (*http.Response, error) {
	resp, err := send(ctx, p.direct, build)
	if err == nil && resp.StatusCode != http.StatusUnauthorized {
		p.sessionless.Store(true)
	}
	return resp, err
}

// inSession sends the request and returns the session that went with it.
func (p *password) inSession(ctx context.Context, build builder) (*http.Response, string, error) {
	var sent string
	resp, err := send(context.WithValue(ctx, sentKey{}, &sent), p.session, build)
	return resp, sent, err
}

// wantsValidUser reports whether err is the refusal of a log-in that did not say, in the
// header too, who logs in.
func wantsValidUser(err error) bool {
	var e *chttp.HTTPError
	return errors.As(err, &e) && e.HTTPStatus() == http.StatusUnauthorized && e.Response.Header.Get("WWW-Authenticate") != ""
}

// lacksSessions reports whether err is the answer of a server without sessions.
func lacksSessions(err error) bool {
	var e *chttp.HTTPError
	if !errors.As(err, &e) {
		return false
	}
	switch e.HTTPStatus() {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// sentKey leads to where a request's session is noted.
type sentKey struct{}

// sessionTransport is below kivik's authentication. It sees which session a request
// carries in the end, and adds to a log-in what a guarded server wants to see.
//
// It also gives the session to a request that has none: when a log-in ends between
// [http.Client]'s look into the jar and kivik's, kivik takes the request for one that has it.
type sessionTransport struct {
	next           http.RoundTripper
	jar            *sessionJar
	login          string // the escaped path
	user, password string
	guarded        *atomic.Bool
}

// RoundTrip implements [http.RoundTripper].
func (t *sessionTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.EscapedPath() == t.login && req.Method == http.MethodPost {
		if t.guarded.Load() {
			req = req.Clone(req.Context())
			req.SetBasicAuth(t.user, t.password)
		}
		return t.next.RoundTrip(req)
	}
	carried, err := req.Cookie(sessionCookie)
	if err != nil {
		if cookies := t.jar.Cookies(req.URL); len(cookies) > 0 {
			carried = cookies[0]
			req = req.Clone(req.Context())
			req.AddCookie(carried)
		}
	}
	if sent, ok := req.Context().Value(sentKey{}).(*string); ok && carried != nil {
		*sent = carried.Value
	}
	return t.next.RoundTrip(req)
}

// bearer sends a token, which tokens may replace when it ends or is refused.
type bearer struct {
	base http.Client
	root *url.URL
	// tokens returns a token other than the one that was refused, if it can; refused is
	// empty for any token.
	tokens func(ctx context.Context, refused string) (string, error)

	mu     sync.Mutex
	token  string
	client *http.Client // sends the token
}

func (b *bearer) do(ctx context.Context, _ written, build builder) (*http.Response, error) {
	token, err := b.tokens(ctx, "")
	if err != nil {
		return nil, err
	}
	resp, err := b.send(ctx, token, build)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	other, err := b.tokens(ctx, token)
	if err != nil {
		discard(resp.Body)
		return nil, err
	}
	if other == token {
		return resp, nil
	}
	discard(resp.Body)
	return b.send(ctx, other, build)
}

// known implements [login].
func (b *bearer) known(ctx context.Context) (bool, error) {
	ask := whoAmI(b.root)
	resp, err := b.do(ctx, writesNothing, ask.build)
	if err != nil {
		return true, nil
	}
	defer discard(resp.Body)
	if !mayBlameToken(resp.StatusCode) {
		return true, nil
	}
	return false, newHTTPError(ask, resp)
}

func (b *bearer) present() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.token
}

// mayBlameToken reports whether the status that refuses a document is also one that refuses a
// token: CouchDB answers 401 when a JWT has ended, and 400 when its signature does not fit.
func mayBlameToken(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusBadRequest
}

func (b *bearer) send(ctx context.Context, token string, build builder) (*http.Response, error) {
	client, err := b.clientFor(token)
	if err != nil {
		return nil, err
	}
	return send(ctx, client, build)
}

// clientFor keeps the client of the newest token.
func (b *bearer) clientFor(token string) (_ *http.Client, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == nil || b.token != token {
		if b.client, err = authenticated(b.base, b.root, chttp.JWTAuth(token)); err != nil {
			return nil, err
		}
		b.token = token
	}
	return b.client, nil
}

// always is the source of a token that stays.
func always(token string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return token, nil }
}
