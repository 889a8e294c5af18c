package filter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"millrace/pkg/couch"
)

// looksLimit is how many design documents are kept for the jobs that have functions of them.
const looksLimit = 256

// looks are what was seen at sources last: jobs with functions of the same design document look once for
// all of them. It is safe for concurrent use.
type looks struct {
	now func() time.Time

	mu   sync.Mutex
	seen map[place]*look
}

// place is a design document at a source, as somebody with its credentials sees it.
type place struct{ source, designDoc string }

// look is one look at a source; what it saw is there once done is closed.
type look struct {
	done   chan struct{}
	doc    []byte
	reader couch.Reader
	until  time.Time
	err    error
	// cut says that whoever looked gave up.
	cut bool
}

// at returns what was seen at a place within the time for which that is believed, by whoever looked. Who comes
// while somebody looks waits. Own says that the caller has looked.
func (l *looks) at(ctx context.Context, p place, db Source) (seen *look, own bool, err error) {
	for {
		l.mu.Lock()
		k := l.seen[p]
		if k == nil || k.over(l.now()) {
			k = &look{done: make(chan struct{})}
			l.keep(p, k)
			l.mu.Unlock()
			l.look(ctx, p, k, db)
			return k, true, k.err
		}
		l.mu.Unlock()
		select {
		case <-k.done:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if !k.cut {
			return k, false, k.err
		}
	}
}

func (l *looks) look(ctx context.Context, p place, k *look, db Source) {
	k.cut = true // unless it returns
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.cut || k.err != nil {
			l.drop(p, k)
		}
		close(k.done)
	}()
	k.until = l.now().Add(believed)
	k.doc, k.reader, k.err = see(ctx, p.designDoc, db)
	k.cut = k.err != nil && ctx.Err() != nil
}

// over reports whether what was seen is not believed any more.
func (k *look) over(now time.Time) bool {
	select {
	case <-k.done:
		return !now.Before(k.until)
	default:
		return false
	}
}

// keep adds a look, in place of what is over, or of any.
func (l *looks) keep(p place, k *look) {
	if l.seen[p] == nil && len(l.seen) >= looksLimit {
		now := l.now()
		for at, other := range l.seen {
			if other.over(now) {
				delete(l.seen, at)
			}
		}
		for at := range l.seen {
			if len(l.seen) < looksLimit {
				break
			}
			delete(l.seen, at)
		}
	}
	l.seen[p] = k
}

// forget has the next one look again.
func (l *looks) forget(p place, k *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(p, k)
}

func (l *looks) drop(p place, k *look) {
	if l.seen[p] == k {
		delete(l.seen, p)
	}
}

// holds reports whether nobody has said that it is another one since.
func (l *looks) holds(p place, k *look) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[p] == k
}

// changed forgets a design document, wherever it is.
func (l *looks) changed(designDoc string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.seen {
		if p.designDoc == designDoc {
			delete(l.seen, p)
		}
	}
}

// see reads a design document, and who reads it.
func see(ctx context.Context, designDoc string, db Source) (doc []byte, reader couch.Reader, err error) {
	if doc, err = db.Get(ctx, designDoc, nil); err != nil {
		return nil, reader, fmt.Errorf("read the filter function of %s: %w", designDoc, err)
	}
	if reader, err = db.Reader(ctx); err != nil {
		return nil, reader, fmt.Errorf("ask the source who reads it: %w", err)
	}
	return doc, reader, nil
}
