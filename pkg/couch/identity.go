package couch

import (
	"net/http"
	"net/url"
)

// identity puts the endpoint's headers on requests to its server.
type identity struct {
	next      http.RoundTripper
	root      *url.URL
	userAgent string
	headers   http.Header
}

// RoundTrip does not replace what a request says by itself: a user's Accept or
// Content-Type would break requests whose answers are not plain JSON.
func (i *identity) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", i.userAgent)
	if !sameServer(i.root, req.URL) {
		return i.next.RoundTrip(req)
	}
	for name, values := range i.headers {
		name = http.CanonicalHeaderKey(name)
		if _, ok := req.Header[name]; !ok || name == "User-Agent" {
			req.Header[name] = values
		}
	}
	return i.next.RoundTrip(req)
}
