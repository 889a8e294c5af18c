package replication

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/net/http/httpguts"

	"millrace/pkg/credential"
	"millrace/pkg/ejson"
)

// Endpoint is a database, and how to log in there. Printed or logged it shows
// its URL only, which has no credentials (invariant 9).
type Endpoint struct {
	// URL of the database, without userinfo. It ends with / unless it has a
	// query.
	URL string
	// Auth is how to log in: from the document's `auth`, from the userinfo of its URL, or
	// from a Basic authorization.
	Auth credential.Auth
	// Headers to send with every request, sorted by name, without a Basic
	// authorization: that has become Auth.
	Headers []Header
	// TLS says how https is spoken.
	TLS credential.TLS
	// Proxy URL for this side, with its credentials; "" for none. Its scheme is
	// http, https or socks5.
	Proxy Secret
	// Site from which the endpoint is reached; "" is the default site.
	Site string

	identity ejson.Tuple // what the replication id takes of it
}

// String is the URL.
func (e Endpoint) String() string { return e.URL }

// GoString is the URL, so that %#v shows no secret either.
func (e Endpoint) GoString() string { return e.URL }

// LogValue is the URL.
func (e Endpoint) LogValue() slog.Value { return slog.StringValue(e.URL) }

// HTTPHeader are the Headers for use with net/http.
func (e Endpoint) HTTPHeader() http.Header {
	h := make(http.Header)
	for _, one := range e.Headers {
		h.Add(one.Name, string(one.Value))
	}
	return h
}

// rawEndpoint is a source or target as the document writes it.
type rawEndpoint struct {
	field   string
	url     string
	auth    jsontext.Value // nil if absent
	headers jsontext.Value // nil if absent
	tls     jsontext.Value // nil if absent
	site    string
	proxy   Secret
}

// ParseEndpoint reads an endpoint as a replication document has it; field is what errors, which are
// *[FieldError], call it.
func ParseEndpoint(field string, v []byte) (Endpoint, error) {
	return Parser{}.parseEndpoint(field, jsontext.Value(v))
}

// parseEndpoint reads a database given as a string or as an object.
func (p Parser) parseEndpoint(field string, v jsontext.Value) (Endpoint, error) {
	raw, err := splitEndpoint(field, v)
	if err != nil {
		return Endpoint{}, err
	}
	headers, err := parseHeaders(field+".headers", raw.headers)
	if err != nil {
		return Endpoint{}, err
	}
	if isLocalName(raw.url) && p.Local != nil {
		var own []Header
		raw.url, own = p.Local(raw.url)
		headers = append(headers, own...) // of the same name, the document's count
	}
	var auth login
	if raw.auth != nil {
		if auth, err = authLogin(field+".auth", raw.auth); err != nil {
			return Endpoint{}, err
		}
	}
	e, err := newEndpoint(field, raw.url, auth, uniqueHeaders(headers))
	if err != nil {
		return Endpoint{}, err
	}
	e.Site, e.Proxy = raw.site, raw.proxy
	e.TLS, err = parseTLS(field+".tls", raw.tls)
	return e, err
}

// isLocalName reports a database name without a host.
func isLocalName(s string) bool {
	return s != "" && !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") && !strings.Contains(s, "://")
}

func splitEndpoint(field string, v jsontext.Value) (rawEndpoint, error) {
	switch v.Kind() {
	case '"':
		u, err := asString(v)
		if err != nil {
			return rawEndpoint{}, invalidURL(field, "endpoint")
		}
		return rawEndpoint{field: field, url: u}, nil
	case '{':
		return splitEndpointObject(field, v)
	default:
		return rawEndpoint{}, mustBe(field, "a URL or an object with a `url`")
	}
}

func splitEndpointObject(field string, v jsontext.Value) (rawEndpoint, error) {
	raw := rawEndpoint{field: field}
	members, err := ejson.Members(v)
	if err != nil {
		return raw, mustBe(field, "a JSON object")
	}
	for _, m := range members {
		switch m.Name {
		case "url":
			u, err := asString(m.Value)
			if err != nil {
				return raw, invalidURL(field+".url", "endpoint")
			}
			raw.url = u
		case "auth":
			raw.auth = m.Value
		case "headers":
			raw.headers = m.Value
		case "tls":
			raw.tls = m.Value
		case "proxy":
			if raw.proxy, err = proxyURL(field+".proxy", m.Value); err != nil {
				return raw, err
			}
		case "site":
			if raw.site, err = siteName(field+".site", m.Value); err != nil {
				return raw, err
			}
		}
	}
	return raw, nil
}

func parseHeaders(field string, v jsontext.Value) ([]Header, error) {
	if v == nil {
		return nil, nil
	}
	members, err := ejson.Members(v)
	if err != nil {
		return nil, mustBe(field, "a JSON object")
	}
	var headers []Header
	for _, m := range members {
		value, err := asString(m.Value)
		if err != nil {
			return nil, mustBe(field+"."+m.Name, "a string")
		}
		if !httpguts.ValidHeaderFieldName(m.Name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, refuse(field+"."+m.Name, "parameter `%s` has a header that cannot be sent", field)
		}
		headers = append(headers, Header{m.Name, Secret(value)})
	}
	if logins := slices.DeleteFunc(slices.Clone(headers), func(h Header) bool { return !isAuthorization(h) }); len(logins) > 1 {
		return nil, refuse(field, "parameter `%s` has more than one Authorization", field)
	}
	return headers, nil
}

// newEndpoint moves the credential that counts out of URL and headers.
func newEndpoint(field, raw string, auth login, headers []Header) (Endpoint, error) {
	if isLocalName(raw) {
		return Endpoint{}, &FieldError{field, "local_endpoints_not_supported", "bad_request"}
	}
	a, ok := parseAddress(withSlash(raw), "http", "https")
	if !ok {
		return Endpoint{}, invalidURL(field, "endpoint")
	}
	login := first(auth, userinfoCredential(a), headerCredential(headers))
	sent := sentHeaders(headers)
	if auth.given && auth.auth.Kind != credential.Basic && slices.ContainsFunc(headers, isAuthorization) {
		return Endpoint{}, refuse(field, "parameter `%s` has both `auth` and the header Authorization", field)
	}
	return Endpoint{
		URL:      a.withoutUser(),
		Auth:     login.auth,
		Headers:  sent,
		identity: identity(a, login, identityHeaders(headers)),
	}, nil
}

func withSlash(raw string) string {
	if strings.Contains(raw, "?") || strings.HasSuffix(raw, "/") {
		return raw
	}
	return raw + "/"
}

// sentHeaders are the headers without a Basic authorization.
func sentHeaders(headers []Header) []Header {
	if !slices.ContainsFunc(foldCase(headers), isBasic) {
		return headers
	}
	return slices.DeleteFunc(slices.Clone(headers), isAuthorization)
}

// identity is the tuple that version 4 of the replication id takes of an
// endpoint. Scheme and password are not in it, so that changing them keeps the
// checkpoints.
func identity(a address, login login, headers []Header) ejson.Tuple {
	var user any = ejson.Atom("undefined")
	if login.auth.Kind == credential.Basic {
		user = ejson.CharList(login.raw)
	}
	var port any = ejson.Atom("default")
	if !a.defaultPort() {
		port = a.port
	}
	list := ejson.Array{}
	for _, h := range headers {
		list = append(list, ejson.Tuple{ejson.CharList(h.Name), ejson.CharList(h.Value)})
	}
	return ejson.Tuple{
		ejson.Atom("remote"), user, ejson.CharList(a.host), port, ejson.CharList(a.path()), list,
		ejson.Atom("undefined"), // was OAuth
	}
}
