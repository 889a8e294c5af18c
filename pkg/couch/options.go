package couch

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Defaults of [Options], which are those of CouchDB's replicator.
const (
	DefaultConnectionTimeout = 30 * time.Second
	DefaultHTTPConnections   = 20
	DefaultRetries           = 5
	DefaultRetryInterval     = 250 * time.Millisecond
	DefaultUserAgent         = "Millrace"
)

// Options say how to talk to a server. The zero value means the defaults.
type Options struct {
	// ConnectionTimeout is how long a connection may make no progress, in either
	// direction, before the request fails with [ErrInactive]; connecting and the
	// TLS handshake have as long each. Time in which the caller does not read, or
	// in which the body to send is not ready, does not count.
	ConnectionTimeout time.Duration
	// HTTPConnections bounds the open connections to the server, not counting
	// feeds. A request waits for a free one, and each open stream occupies one: who reads
	// attachments while a stream is open needs two.
	HTTPConnections int
	// Retries is how often a request is sent again after 408, a status of 500 or
	// more, or a network error. Negative means never. A 429 is not counted.
	Retries int
	// RetryInterval is the wait before the first retry; it doubles with each.
	RetryInterval time.Duration
	// UserAgent is sent with every request, as product/version.
	UserAgent string
	// Proxy is an http, https or socks5 proxy; nil means none. The environment's
	// proxy settings are not used: a job says what it uses.
	Proxy *url.URL
	// TLS says how https is spoken; the zero value verifies certificates.
	TLS TLS
	// Transport wraps the transport, for tracing. It sees every try of every request,
	// with log-in requests, and sees credentials in headers.
	Transport func(http.RoundTripper) http.RoundTripper
	// Repeating, which may be nil, returns the context of the nth repetition of a
	// request, n from 1: for traces that tell repetitions apart.
	Repeating func(ctx context.Context, n int) context.Context
}

func (o Options) withDefaults() Options {
	if o.ConnectionTimeout <= 0 {
		o.ConnectionTimeout = DefaultConnectionTimeout
	}
	if o.HTTPConnections <= 0 {
		o.HTTPConnections = DefaultHTTPConnections
	}
	switch {
	case o.Retries == 0:
		o.Retries = DefaultRetries
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.RetryInterval <= 0 {
		o.RetryInterval = DefaultRetryInterval
	}
	if o.UserAgent == "" {
		o.UserAgent = DefaultUserAgent
	}
	return o
}
