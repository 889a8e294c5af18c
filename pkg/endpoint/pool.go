package endpoint

import (
	"context"
	"fmt"
	"sync"

	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// Pool opens one client per endpoint and keeps it: what a site's services share
// of connections, sessions and rate limits.
type Pool struct {
	store   *Store
	options couch.Options
	servers *couch.Pool

	mu   sync.Mutex
	open map[string]*client // by endpoint id
}

type client struct {
	version uint64
	db      *couch.DB
}

// NewPool returns a pool over the store. Options give what an endpoint does not
// say itself: the user agent and the transport's wrapper.
func NewPool(store *Store, options couch.Options) *Pool {
	return &Pool{store: store, options: options, servers: couch.NewPool(options.Transport), open: map[string]*client{}}
}

// DB returns the client of the endpoint, in the version that ref names or a newer
// one. It stays open until [Pool.Close], or until a newer version takes its place.
// Errors wrap [ErrUnknown] and [ErrSealed].
func (p *Pool) DB(ctx context.Context, ref *millracev1.EndpointRef) (*couch.DB, error) {
	if db := p.cached(ref); db != nil {
		return db, nil
	}
	e, version, err := p.store.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	options := p.options
	options.ConnectionTimeout = e.ConnectionTimeout
	options.HTTPConnections = e.HTTPConnections
	options.Retries = e.RetriesPerRequest
	if options.Retries == 0 {
		options.Retries = -1 // none: for the client 0 is its default
	}
	db, err := p.servers.Open(e.Endpoint, options)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", e, err)
	}
	return p.keep(ref.GetId(), version, db), nil
}

func (p *Pool) cached(ref *millracev1.EndpointRef) *couch.DB {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.open[ref.GetId()]; c != nil && c.version >= ref.GetVersion() {
		return c.db
	}
	return nil
}

// keep puts the client into the pool, unless another caller was faster. The
// client that it replaces is closed: its requests under way end, idle connections go.
func (p *Pool) keep(id string, version uint64, db *couch.DB) *couch.DB {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.open[id]; c != nil {
		if c.version >= version {
			db.Close()
			return c.db
		}
		c.db.Close()
	}
	p.open[id] = &client{version: version, db: db}
	return db
}

// Close closes every client.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, c := range p.open {
		c.db.Close()
		delete(p.open, id)
	}
}
