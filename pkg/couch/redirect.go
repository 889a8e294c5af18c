package couch

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// maxRedirects is how many redirects are followed for one request.
const maxRedirects = 10

// redirects follows redirects, with their bodies, where net/http would turn a POST into a GET.
// The rules are those of CouchDB's replicator, which keeps the method at 301 and 302 and asks
// with GET after a 303; 307 and 308, which it does not know, keep it too. Unlike CouchDB's
// replicator, it never carries a secret to another server, and never anything out of
// encryption (invariant 9).
type redirects struct {
	next http.RoundTripper
	// secret: requests carry what another server must not see.
	secret bool
}

// RoundTrip implements [http.RoundTripper]. A redirect that is not followed is a [redirectError].
func (t *redirects) RoundTrip(req *http.Request) (*http.Response, error) {
	for hops := 0; ; hops++ {
		resp, err := t.next.RoundTrip(req)
		if err != nil || !isRedirect(resp.StatusCode) {
			return resp, err
		}
		discard(resp.Body)
		if req, err = t.follow(req, resp, hops); err != nil {
			return nil, err
		}
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// follow is the request that the redirect asks for.
func (t *redirects) follow(req *http.Request, resp *http.Response, hops int) (*http.Request, error) {
	refuse := func(reason string) error { return &redirectError{status: resp.StatusCode, reason: reason} }
	location, err := req.URL.Parse(resp.Header.Get("Location"))
	if resp.Header.Get("Location") == "" || err != nil || location.Host == "" {
		return nil, refuse("redirected to no address")
	}
	location.User = nil // credentials of the server's choice
	shown := url.URL{Scheme: location.Scheme, Host: location.Host, Path: location.Path}
	switch {
	case location.Scheme != "http" && location.Scheme != "https":
		return nil, refuse("redirected to no address")
	case hops >= maxRedirects:
		return nil, refuse(fmt.Sprintf("redirected more than %d times", maxRedirects))
	case weaker(req.URL, location):
		return nil, refuse("redirected to " + shown.String() + ", which gives up encryption")
	case t.secret && !sameServer(req.URL, location):
		return nil, refuse("redirected to " + shown.String() + ", another server, where credentials are not sent")
	}
	next := req.Clone(req.Context())
	next.URL, next.Host = location, ""
	if resp.StatusCode == http.StatusSeeOther {
		return asGet(next), nil
	}
	return next, rewind(next)
}

// asGet makes the request one for the answer to another.
func asGet(req *http.Request) *http.Request {
	if req.Method != http.MethodHead {
		req.Method = http.MethodGet
	}
	req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Length", "Expect"} {
		req.Header.Del(name)
	}
	return req
}

var errOnce = errors.New("redirected, but the body cannot be sent again")

// rewind opens the body, which the first try has read, anew.
func rewind(req *http.Request) (err error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	if req.GetBody == nil {
		return errOnce
	}
	req.Body, err = req.GetBody()
	return err
}

// redirectError is a redirect that was not followed.
type redirectError struct {
	status int
	reason string
}

func (e *redirectError) Error() string { return e.reason }

// sameServer reports whether a secret that is meant for one URL's server may be sent to
// the other: to the same host and port, or from http to https on that host.
func sameServer(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) || weaker(from, to) {
		return false
	}
	return port(from) == port(to) || from.Scheme != to.Scheme
}

// weaker reports whether going from one URL to the other gives up encryption.
func weaker(from, to *url.URL) bool { return from.Scheme == "https" && to.Scheme != "https" }

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}
