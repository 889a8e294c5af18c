package couch

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"time"

	"millrace/pkg/ratelimit"
)

// Pool opens databases that share connections and a session where they are on one server,
// with the same credentials and settings. A log-in costs a CouchDB tens of
// milliseconds of CPU, so a hundred databases of one server need one. It is safe
// for concurrent use.
type Pool struct {
	wrap   func(http.RoundTripper) http.RoundTripper
	tokens *accounts
	// limiter is for all databases: those that are opened twice, with different settings
	// or by several jobs, are asked no more often than one.
	limiter *ratelimit.Limiter

	mu      sync.Mutex
	servers map[serverKey]*sharedServer
}

// NewPool returns an empty pool. wrap, which may be nil, wraps every transport; it takes the
// place of [Options].Transport.
func NewPool(wrap func(http.RoundTripper) http.RoundTripper) *Pool {
	return &Pool{wrap: wrap, tokens: newAccounts(wrap), limiter: ratelimit.New(time.Now), servers: map[serverKey]*sharedServer{}}
}

// serverKey is all that databases on one server must have in common. It holds
// secrets and is never printed.
type serverKey struct {
	root, headers, userAgent, proxy string

	credentials Credentials
	source      string // of credentials that may change
	tls         TLS
	timeout     int64
	connections int
}

// sharedServer is a server and how many databases use it.
type sharedServer struct {
	*server
	users int
}

// Open is like the function [Open]. [Options].HTTPConnections bounds the
// connections to the server for all databases that share it. The server's connections are
// closed with the last of them.
func (p *Pool) Open(ep Endpoint, o Options) (*DB, error) {
	o.Transport = p.wrap
	o = o.withDefaults()
	loc, err := ep.locate()
	if err != nil {
		return nil, err
	}
	key := keyOf(ep, loc, o)
	p.mu.Lock()
	defer p.mu.Unlock()
	shared, ok := p.servers[key]
	if !ok {
		s, err := newServer(ep, loc.root, o, p.tokens)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", ep, err)
		}
		shared = &sharedServer{server: s}
		p.servers[key] = shared
	}
	shared.users++
	db := newDB(ep, loc, o, shared.server, p.limiter)
	db.release = sync.OnceFunc(func() { p.release(key) })
	return db, nil
}

func (p *Pool) release(key serverKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	shared := p.servers[key]
	shared.users--
	if shared.users == 0 {
		delete(p.servers, key)
		shared.close()
	}
}

func keyOf(ep Endpoint, loc location, o Options) serverKey {
	var headers bytes.Buffer
	_ = ep.Headers.Write(&headers) // sorted by name; a buffer does not fail
	key := serverKey{
		root:        loc.root.String(),
		credentials: ep.credentials(),
		headers:     headers.String(),
		userAgent:   o.UserAgent,
		tls:         o.TLS,
		timeout:     int64(o.ConnectionTimeout),
		connections: o.HTTPConnections,
	}
	if ep.Renewal != nil {
		key.source = ep.Renewal.Source
	}
	if o.Proxy != nil {
		key.proxy = o.Proxy.String()
	}
	return key
}
