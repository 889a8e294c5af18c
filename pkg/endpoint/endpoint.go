// Package endpoint keeps the databases that a site can reach, with the
// credentials for them, and opens clients of them.
//
// Messages of the pipeline name an endpoint by id and version only
// (invariant 9); the credential is read where it is used, from the bucket of the
// site that needs it, where it is sealed when the site has a key.
package endpoint

import (
	"crypto/sha256"
	"encoding/base32"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace/pkg/couch"
)

// Endpoint is a database, the credential for it, and how to talk to it.
type Endpoint struct {
	couch.Endpoint
	// ConnectionTimeout of a request's inactivity; 0 means CouchDB's default, 30 s.
	ConnectionTimeout time.Duration
	// HTTPConnections at most at once; 0 means CouchDB's default, 20.
	HTTPConnections int
	// RetriesPerRequest before a request fails; 0 means that it fails at once.
	RetriesPerRequest int
}

// ID is the opaque name of the endpoint: the same for the same address, user
// and headers, whatever the password. It is usable as a bucket key.
func (e Endpoint) ID() string {
	h := sha256.New()
	write := func(s string) {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	write(e.URL)
	write(e.Username)
	for _, name := range sortedNames(e.Headers) {
		write(name)
		for _, v := range e.Headers[name] {
			write(v)
		}
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:20]))
}

func sortedNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
