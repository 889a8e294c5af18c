package couch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
)

// ErrBadEndpoint is wrapped by the errors for a URL that cannot be a database's.
var ErrBadEndpoint = errors.New("not the URL of a database")

// Endpoint is a database and what is needed to log in to it. It prints, logs and
// encodes without its secrets (invariant 9).
type Endpoint struct {
	// URL is the database's address, http or https, without user information and
	// query. The server may be below a base path: the last segment is the database,
	// in which a slash is written %2F.
	URL string
	// Username and Password log in to the server, for a session or with Basic. An empty
	// Username means none.
	Username string `json:"-"`
	Password string `json:"-"`
	// Token is sent as a bearer token, such as a JWT. It counts where there is no Username.
	Token string `json:"-"`
	// IAM gets a bearer token from IBM Cloud. It counts where there is neither of the above.
	IAM IAM `json:"-"`
	// Renewal, which may be nil, has the credentials from somewhere where they may change.
	Renewal *Renewal `json:"-"`
	// Headers are added to every request to the endpoint's host.
	Headers http.Header `json:"-"`
}

// Credentials are what logs in to a server: at most one of its kinds. They print
// without their secrets (invariant 9).
type Credentials struct {
	Username, Password string
	Token              string
	IAM                IAM
}

// String shows no secret.
func (Credentials) String() string { return "Credentials" }

// GoString is String: %#v must not print the fields.
func (Credentials) GoString() string { return "couch.Credentials" }

// Renewal reads credentials again that a server has refused: in a file, they may have changed.
type Renewal struct {
	// Source names where they are from, such as a file. Databases share a log-in only
	// where it is the same.
	Source string
	// Credentials returns what is there now.
	Credentials func(ctx context.Context) (Credentials, error)
}

// credentials are those of the endpoint as it was given.
func (e Endpoint) credentials() Credentials {
	return Credentials{Username: e.Username, Password: e.Password, Token: e.Token, IAM: e.IAM}
}

// ParseEndpoint splits a URL as people write it into address and credentials.
// Percent escapes in the user information are decoded (CouchDB's replicator
// does not, and fails to log in with such passwords). Errors wrap
// [ErrBadEndpoint] and do not quote the URL, which may hold a password.
func ParseEndpoint(raw string) (Endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// url.Parse quotes its input, password included.
		return Endpoint{}, fmt.Errorf("%w: it does not parse", ErrBadEndpoint)
	}
	ep := Endpoint{}
	if u.User != nil {
		ep.Username = u.User.Username()
		ep.Password, _ = u.User.Password()
		u.User = nil
	}
	ep.URL = u.String()
	if _, err := ep.locate(); err != nil {
		return Endpoint{}, err
	}
	return ep, nil
}

// String returns the URL without secrets.
func (e Endpoint) String() string {
	u, err := url.Parse(e.URL)
	if err != nil {
		return "(unparsable URL)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// GoString is String: %#v must not print the fields.
func (e Endpoint) GoString() string { return fmt.Sprintf("couch.Endpoint{%q}", e.String()) }

// LogValue implements [slog.LogValuer] without secrets.
func (e Endpoint) LogValue() slog.Value { return slog.StringValue(e.String()) }

// location is an endpoint's URL taken apart.
type location struct {
	root *url.URL // the server, with its base path and without a slash at the end
	db   string   // the name of the database, decoded
}

func (e Endpoint) locate() (location, error) {
	u, err := url.Parse(e.URL)
	switch {
	case err != nil:
		return location{}, fmt.Errorf("%w: it does not parse", ErrBadEndpoint)
	case u.Scheme != "http" && u.Scheme != "https":
		return location{}, fmt.Errorf("%w: it starts with neither http:// nor https://", ErrBadEndpoint)
	case u.Host == "":
		return location{}, fmt.Errorf("%w: it has no host", ErrBadEndpoint)
	case u.User != nil:
		return location{}, fmt.Errorf("%w: it has user information, which belongs into Username and Password", ErrBadEndpoint)
	case u.RawQuery != "" || u.Fragment != "":
		return location{}, fmt.Errorf("%w: it has a query or a fragment", ErrBadEndpoint)
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return location{}, fmt.Errorf("%w: it names no database", ErrBadEndpoint)
	}
	db, err := url.PathUnescape(path[slash+1:])
	if err != nil {
		return location{}, fmt.Errorf("%w: bad escape in the name of the database", ErrBadEndpoint)
	}
	root, err := withPath(u, path[:slash])
	if err != nil {
		return location{}, err
	}
	return location{root: root, db: db}, nil
}

// withPath returns u with the escaped path in place of its own. Both forms are
// set, so that net/url sends exactly these escapes.
func withPath(u *url.URL, escaped string) (*url.URL, error) {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, fmt.Errorf("%w: bad escape in its path", ErrBadEndpoint)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path, RawPath: escaped}, nil
}
