package chaosproxy

import (
	"net/http"
	"strings"
)

// Endpoint is a kind of request: the name of a database's or server's special
// path as it is ("_changes", "_bulk_get", "_local"), or one of the constants.
type Endpoint string

// The endpoints that have no name of their own.
const (
	Server     Endpoint = "server"     // GET /
	Database   Endpoint = "database"   // the database itself
	Document   Endpoint = "document"   // a document, design documents included
	Attachment Endpoint = "attachment" // an attachment
)

// The endpoints of the replication protocol that have one.
const (
	Changes  Endpoint = "_changes"
	BulkGet  Endpoint = "_bulk_get"
	BulkDocs Endpoint = "_bulk_docs"
	RevsDiff Endpoint = "_revs_diff"
	AllDocs  Endpoint = "_all_docs"
	Local    Endpoint = "_local"
	Session  Endpoint = "_session"
)

// Count is what passed through an endpoint.
type Count struct {
	// Requests is how many came, whatever became of them.
	Requests int
	// Forwarded is how many of them the server was asked.
	Forwarded int
	// AtOnce is how many waited for their answer to begin at the same time, at most.
	AtOnce int
	// RequestBytes and AnswerBytes are bytes of bodies passed on, as they went
	// over the wire (compressed, if they were).
	RequestBytes, AnswerBytes int64
}

// counter is a Count under Proxy.mu.
type counter struct {
	proxy *Proxy
	Count
	waiting int // for their answer
}

func (c *counter) add(f func(*Count)) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	f(&c.Count)
}

// Counts is what passed since the start, or ResetCounts, by kind of request.
func (p *Proxy) Counts() map[Endpoint]Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := make(map[Endpoint]Count, len(p.counts))
	for kind, c := range p.counts {
		counts[kind] = c.Count
	}
	return counts
}

// ResetCounts starts all counts at zero. What is under way is counted nowhere.
func (p *Proxy) ResetCounts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts = make(map[Endpoint]*counter)
}

func (p *Proxy) count(r *http.Request) *counter {
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := Classify(r)
	c := p.counts[kind]
	if c == nil {
		c = &counter{proxy: p}
		p.counts[kind] = c
	}
	c.Requests++
	c.waiting++
	c.AtOnce = max(c.AtOnce, c.waiting)
	return c
}

// answered says that a request waits no longer.
func (c *counter) answered() {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.waiting--
}

// Classify says of which kind a request is, from its path as sent: an escaped
// slash (%2F) is part of a name, as in CouchDB.
func Classify(r *http.Request) Endpoint {
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	switch {
	case parts[0] == "":
		return Server
	case strings.HasPrefix(parts[0], "_") && !isSystemDatabase(parts[0]):
		return Endpoint(parts[0])
	case len(parts) == 1:
		return Database
	}
	rest := parts[1:]
	if rest[0] == "_design" && len(rest) > 1 {
		rest = rest[1:] // _design/NAME is a document's id, though it has a slash
		if len(rest) > 1 && strings.HasPrefix(rest[1], "_") {
			return Endpoint(rest[1]) // a view or the like
		}
	}
	switch {
	case strings.HasPrefix(rest[0], "_") && !strings.HasPrefix(rest[0], "_design%2"):
		return Endpoint(rest[0])
	case len(rest) > 1:
		return Attachment
	default:
		return Document
	}
}

// isSystemDatabase tells databases whose name begins with an underscore from the
// server's own endpoints.
func isSystemDatabase(name string) bool {
	switch name {
	case "_users", "_replicator", "_global_changes":
		return true
	default:
		return false
	}
}
