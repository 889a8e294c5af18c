// Package endpoint keeps the databases that a site can reach, with the
// credentials for them, and opens clients of them.
//
// Messages of the pipeline name an endpoint by id and version only
// (invariant 9); the credential is read where it is used, from the bucket of the
// site that needs it, where it is sealed when the site has a key.
package endpoint

import (
	"log/slog"
	"net/http"
	"time"

	"millrace/pkg/couch"
	"millrace/pkg/credential"
	"millrace/pkg/replication"
)

// Endpoint is a database, the credential for it, and how to talk to it. Printed or logged it
// shows its URL only (invariant 9).
type Endpoint struct {
	// URL of the database, without userinfo.
	URL     string
	Auth    credential.Auth
	Headers http.Header
	// Proxy URL with its credentials; empty for none.
	Proxy credential.Secret
	TLS   credential.TLS
	// Owner of the job: nobody else's job has the same endpoint.
	Owner string
	Settings
}

// Settings are how to talk to a database, which says nothing about who reads what.
type Settings struct {
	// ConnectionTimeout of a request's inactivity; 0 means CouchDB's default, 30 s.
	ConnectionTimeout time.Duration
	// HTTPConnections at most at once; 0 means CouchDB's default, 20.
	HTTPConnections int
	// RetriesPerRequest before a request fails; 0 means that it fails at once.
	RetriesPerRequest int
}

// Of is the endpoint of a replication.
func Of(e replication.Endpoint, spec *replication.Spec) Endpoint {
	return Endpoint{
		URL: e.URL, Auth: e.Auth, Headers: e.HTTPHeader(), Proxy: e.Proxy, TLS: e.TLS, Owner: spec.Owner,
		Settings: Settings{
			ConnectionTimeout: spec.ConnectionTimeout, HTTPConnections: spec.HTTPConnections,
			RetriesPerRequest: spec.RetriesPerRequest,
		},
	}
}

// String is the URL.
func (e Endpoint) String() string { return couch.Endpoint{URL: e.URL}.String() }

// GoString is the URL, so that %#v shows no secret either.
func (e Endpoint) GoString() string { return e.String() }

// LogValue is the URL.
func (e Endpoint) LogValue() slog.Value { return slog.StringValue(e.String()) }
