package endpoint

import (
	"context"
	"fmt"
	"sync"
	"time"

	"millrace/pkg/couch"
	"millrace/pkg/credential"
	millracev1 "millrace/proto/millrace/v1"
)

// Pool opens one client per endpoint and keeps it: what a site's services share
// of connections, sessions and rate limits.
type Pool struct {
	store   *Store
	rules   credential.Rules
	options couch.Options
	servers *couch.Pool
	now     func() time.Time

	mu   sync.Mutex
	open map[string]*client // by endpoint id
}

type client struct {
	version uint64
	db      *couch.DB
	read    time.Time // when what the endpoint refers to was read; zero if it refers to nothing
}

// rereadAfter is how long what was read of an endpoint's files is good: certificates are replaced
// before they end, and no server refuses them meanwhile.
const rereadAfter = time.Minute

// NewPool returns a pool over the store. The rules say what endpoints may refer to. Options give what
// an endpoint does not say itself: the user agent and the transport's wrapper.
func NewPool(store *Store, rules credential.Rules, options couch.Options) *Pool {
	return &Pool{store: store, rules: rules, now: time.Now, options: options, servers: couch.NewPool(options.Transport), open: map[string]*client{}}
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
	fresh := &client{version: version}
	if e.refers() {
		fresh.read = p.now()
	}
	if fresh.db, err = e.Open(p.servers, p.rules, p.options); err != nil {
		return nil, fmt.Errorf("open %s: %w", e, err)
	}
	return p.keep(ref.GetId(), fresh), nil
}

func (p *Pool) cached(ref *millracev1.EndpointRef) *couch.DB {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.open[ref.GetId()]
	if c == nil || c.version < ref.GetVersion() || !c.read.IsZero() && p.now().Sub(c.read) > rereadAfter {
		return nil
	}
	return c.db
}

// keep puts the client into the pool, unless another caller was faster. The
// client that it replaces is closed: its requests under way end, idle connections go.
func (p *Pool) keep(id string, fresh *client) *couch.DB {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.open[id]; c != nil {
		if c.version > fresh.version || c.version == fresh.version && !fresh.read.After(c.read) {
			fresh.db.Close()
			return c.db
		}
		c.db.Close()
	}
	p.open[id] = fresh
	return fresh.db
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
