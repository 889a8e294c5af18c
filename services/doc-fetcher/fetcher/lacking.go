package fetcher

import (
	"sync"
	"time"

	millracev1 "millrace/proto/millrace/v1"
)

const (
	// lackingFor is how long a source is taken for one that lacks something before it is
	// asked again: it may have been upgraded, or a proxy before it mended.
	lackingFor = 10 * time.Minute
	// lackingLimit bounds the endpoints that are remembered (invariant 5). What is forgotten
	// is asked again.
	lackingLimit = 4096
)

// lacking remembers sources that lack something, as _bulk_get, so that they are not asked for
// it with each batch.
type lacking struct {
	now func() time.Time

	mu    sync.Mutex
	until map[endpointKey]time.Time
}

// endpointKey is an endpoint in one version: another address is another source.
type endpointKey struct {
	id      string
	version uint64
}

func newLacking(now func() time.Time) *lacking {
	return &lacking{now: now, until: map[endpointKey]time.Time{}}
}

// add notes that the source has none.
func (l *lacking) add(source *millracev1.EndpointRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.until) >= lackingLimit {
		clear(l.until)
	}
	l.until[endpointKey{source.GetId(), source.GetVersion()}] = l.now().Add(lackingFor)
}

// has reports whether the source is known to have none.
func (l *lacking) has(source *millracev1.EndpointRef) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now().Before(l.until[endpointKey{source.GetId(), source.GetVersion()}])
}
