package couch

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
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

func newConnections(o Options) (*connections, error) {
	bounded, err := newTransport(o)
	if err != nil {
		return nil, err
	}
	feeds := bounded.Clone()
	bounded.MaxConnsPerHost = o.HTTPConnections
	bounded.MaxIdleConnsPerHost = o.HTTPConnections
	return &connections{bounded: bounded, feeds: feeds}, nil
}

func newTransport(o Options) (*http.Transport, error) {
	config, err := o.TLS.config()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: o.ConnectionTimeout, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		DialContext:           dialer.DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   o.ConnectionTimeout,
		ExpectContinueTimeout: min(announcing, o.ConnectionTimeout/4),
		IdleConnTimeout:       idleConnection,
		ReadBufferSize:        socketBuffer,
		WriteBufferSize:       socketBuffer,
	}
	if o.Proxy == nil {
		return t, nil
	}
	t.Proxy = http.ProxyURL(o.Proxy)
	t.OnProxyConnectResponse = proxyAnswer
	if o.Proxy.Scheme == "https" {
		if t.DialTLSContext, err = proxyDialer(dialer, o); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// proxyDialer connects to a proxy by TLS. The client certificate and the exceptions are
// meant for the database and not for whom the connection goes through. Connections to
// the database behind the proxy do not come here: net/http adds their TLS to the tunnel.
func proxyDialer(dialer *net.Dialer, o Options) (func(ctx context.Context, network, addr string) (net.Conn, error), error) {
	config, err := o.TLS.authorities()
	if err != nil {
		return nil, err
	}
	config.ServerName = o.Proxy.Hostname()
	d := &tls.Dialer{NetDialer: dialer, Config: config}
	return d.DialContext, nil
}

// proxyAnswer turns a proxy's refusal to connect into an error with its status, so that it
// is judged like any other: net/http has the text only.
func proxyAnswer(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &HTTPError{
		Method:     http.MethodConnect,
		URL:        (&url.URL{Scheme: proxy.Scheme, Host: proxy.Host}).String(),
		Status:     resp.StatusCode,
		Err:        http.StatusText(resp.StatusCode),
		Reason:     "the proxy refuses to connect",
		RetryAfter: retryAfter(resp.Header.Get("Retry-After")),
		elsewhere:  true,
	}
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
