package couch

import (
	"context"
	"net"
	"net/http"
	"time"
)

// idleConnection is how long an unused connection is kept, as by CouchDB's replicator.
const idleConnection = 90 * time.Second

// announcing is how long a server has to say that it wants the body that was announced. Not all
// servers and proxies know of announcements: what they do not answer is sent all the
// same, before the connection counts as inactive.
const announcing = time.Second

// socketBuffer is the size of a connection's buffers in bytes: documents come in megabytes.
const socketBuffer = 64 << 10

// connections are the connections to one server. Feeds have theirs beside the
// bounded ones: a feed keeps its connection for ever, and as many feeds as there are
// connections would leave none to fetch documents with.
type connections struct {
	bounded, feeds *http.Transport
}

func newConnections(o Options) *connections {
	bounded := newTransport(o)
	bounded.MaxConnsPerHost = o.HTTPConnections
	bounded.MaxIdleConnsPerHost = o.HTTPConnections
	return &connections{bounded: bounded, feeds: newTransport(o)}
}

func newTransport(o Options) *http.Transport {
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: o.ConnectionTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   o.ConnectionTimeout,
		ExpectContinueTimeout: min(announcing, o.ConnectionTimeout/4),
		IdleConnTimeout:       idleConnection,
		ReadBufferSize:        socketBuffer,
		WriteBufferSize:       socketBuffer,
	}
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
	}
	if o.Proxy != nil {
		t.Proxy = http.ProxyURL(o.Proxy)
	}
	return t
}

// feedKey marks the context of a feed's request.
type feedKey struct{}

// asFeed makes requests with the context use a connection of their own.
func asFeed(ctx context.Context) context.Context { return context.WithValue(ctx, feedKey{}, true) }

// RoundTrip implements [http.RoundTripper].
func (c *connections) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Context().Value(feedKey{}) != nil {
		return c.feeds.RoundTrip(req)
	}
	return c.bounded.RoundTrip(req)
}

func (c *connections) close() {
	c.bounded.CloseIdleConnections()
	c.feeds.CloseIdleConnections()
}
