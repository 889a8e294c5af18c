package millpond

import (
	"maps"
	"strings"
	"sync"
)

// Endpoint is what a request was for.
type Endpoint struct {
	Method   string
	Database string // empty for requests about the server
	// Kind is the resource: "server" (GET /), "_session", "_all_dbs", ...; and
	// inside a database "db", "doc", "attachment", "_local" or a name like
	// "_bulk_docs".
	Kind string
}

// Counts says how many requests each endpoint got.
type Counts map[Endpoint]int

// Of adds up the requests of a method and kind to all databases.
func (c Counts) Of(method, kind string) int {
	n := 0
	for e, count := range c {
		if e.Method == method && e.Kind == kind {
			n += count
		}
	}
	return n
}

// Requests returns the numbers of requests that the server got since its start,
// faults included.
func (s *Server) Requests() Counts { return s.requests.snapshot() }

type requests struct {
	mu     sync.Mutex
	counts Counts
}

func (r *requests) add(method string, parts []string) {
	e := Endpoint{Method: method, Kind: kindOf(parts)}
	if len(parts) > 0 && !strings.HasPrefix(parts[0], "_") {
		e.Database = parts[0]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = make(Counts)
	}
	r.counts[e]++
}

func (r *requests) snapshot() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

// kindOf names the resource of a path.
func kindOf(parts []string) string {
	switch {
	case len(parts) == 0:
		return "server"
	case len(parts) == 1:
		if _, ok := serverRoutes[parts[0]]; ok {
			return parts[0]
		}
		return "db"
	case parts[1] == "_local" || strings.HasPrefix(parts[1], localPrefix):
		return "_local"
	case len(parts) == 2:
		if _, ok := collectionRoutes[parts[1]]; ok {
			return parts[1]
		}
		return "doc"
	case len(parts) == 3 && parts[1] == "_design":
		return "doc"
	}
	return "attachment"
}
