package endpoint

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"millrace/pkg/credential"
	millracev1 "millrace/proto/millrace/v1"
)

// ID is the opaque name of the endpoint, usable as a bucket key. Its first part, [Endpoint.Identity],
// is who reads what; the second tells apart jobs that talk to the database in different ways, so that
// each has the settings that it says.
func (e Endpoint) ID() string {
	h := digest{sha256.New()}
	h.write(e.ConnectionTimeout.String(), fmt.Sprint(e.HTTPConnections), fmt.Sprint(e.RetriesPerRequest))
	return e.Identity() + separator + h.token(5)
}

const separator = "-"

// Identity is who reads what: jobs whose sources have the same may share a feed. It is made of all that
// decides what the answers are, of whose they are, and of no secret that may be
// replaced: the same for the same address, owner, user and headers, whatever the password.
// A token is somebody; one that says of itself whose it is (a JWT) may rotate, and so may
// what stands in a file. The proxy, and who certifies the server, decide which server it is.
func (e Endpoint) Identity() string {
	h := digest{sha256.New()}
	h.write(e.URL, e.Owner, string(e.Auth.Kind), e.Auth.User, e.Auth.File, e.Auth.TokenURL)
	switch e.Auth.Kind {
	case credential.Bearer:
		h.write(e.Auth.Token.Source(), bearerOf(string(e.Auth.Token.Text)))
	case credential.IAM:
		h.write(e.Auth.APIKey.Source(), string(e.Auth.APIKey.Text))
	}
	h.write(withoutPassword(string(e.Proxy)))
	t := e.TLS
	h.write(t.CA.Source(), string(t.CA.Text), t.Cert.Source(), string(t.Cert.Text), t.ServerName, fmt.Sprint(t.InsecureSkipVerify))
	h.headers(e.Headers)
	return h.token(20)
}

// Identity is that of the endpoint which a reference names.
func Identity(ref *millracev1.EndpointRef) string {
	identity, _, _ := strings.Cut(ref.GetId(), separator)
	return identity
}

// digest hashes texts so that none runs into the next.
type digest struct{ hash.Hash }

func (d digest) write(texts ...string) {
	for _, s := range texts {
		fmt.Fprintf(d, "%d:%s", len(s), s)
	}
}

func (d digest) headers(h http.Header) {
	for _, name := range sortedNames(h) {
		d.write(name, fmt.Sprint(len(h[name])))
		d.write(h[name]...)
	}
}

// token is n bytes of the hash, in letters and digits.
func (d digest) token(n int) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(d.Sum(nil)[:n]))
}

func sortedNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ofTheToken are the claims about a token itself, which are others in the next one for the same.
var ofTheToken = []string{"exp", "iat", "nbf", "jti", "auth_time", "nonce", "at_hash"}

// bearerOf is whose a token is: of a JWT its claims but for those about the token itself, of any
// other the token. The claims are not verified: whoever writes a token with another's claims
// has a job that is refused, because the server does verify, and the owner keeps theirs apart.
func bearerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return token
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]json.RawMessage
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims["sub"] == nil {
		return token
	}
	for _, name := range ofTheToken {
		delete(claims, name)
	}
	sorted, err := json.Marshal(claims) // by name
	if err != nil {
		return token
	}
	return string(sorted)
}

func withoutPassword(proxy string) string {
	u, err := url.Parse(proxy)
	if err != nil || u.User == nil {
		return proxy
	}
	u.User = url.User(u.User.Username())
	return u.String()
}
