package selector

import (
	"container/list"
	"context"
	"sync"
)

// keptBytes is how many bytes of documents are kept that were read for filters: a job that was passed over,
// or has just joined, is decided for without reading them again.
const keptBytes = 64 << 20

// batchKey names a batch for as long as there is its feed.
type batchKey struct {
	feed    string
	ordinal uint64
}

// kept is what was read of one batch, or is being read. Whoever decides on the leaves has it alone: they
// may be published.
type kept struct {
	key    batchKey
	had    chan struct{} // has room for the one who has it
	leaves []*leaf
	read   bool // all leaves are there
	// size and listed are the store's, under its lock: it may drop what somebody has.
	size   int
	listed bool
}

// take waits until nobody else has it.
func (k *kept) take(ctx context.Context) error {
	select {
	case k.had <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *kept) leave() { <-k.had }

// store keeps the newest readings.
type store struct {
	limit int

	mu    sync.Mutex
	size  int
	order *list.List // of *kept, the newest in front
	byKey map[batchKey]*list.Element
}

func newStore(limit int) *store {
	return &store{limit: limit, order: list.New(), byKey: map[batchKey]*list.Element{}}
}

// fits reports whether a batch of so many bytes is kept at all: one must not push out all others.
func (s *store) fits(size int) bool { return size <= s.limit/4 }

// of returns what is kept of a batch: nothing yet, for the first who asks.
func (s *store) of(key batchKey) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byKey[key]; e != nil {
		s.order.MoveToFront(e)
		return e.Value.(*kept)
	}
	k := &kept{key: key, had: make(chan struct{}, 1), listed: true}
	s.byKey[key] = s.order.PushFront(k)
	return k
}

// filled is told that all of a batch was read, of so many bytes, and drops what was used longest ago.
func (s *store) filled(k *kept, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !k.listed {
		return
	}
	k.size = size
	s.size += size
	for s.size > s.limit {
		s.drop(s.order.Back())
	}
}

// abandon is told that a batch is not kept.
func (s *store) abandon(k *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.listed {
		s.drop(s.byKey[k.key])
	}
}

// forget drops what was read of a feed.
func (s *store) forget(feed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.order.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*kept).key.feed == feed {
			s.drop(e)
		}
		e = next
	}
}

func (s *store) drop(e *list.Element) {
	k := s.order.Remove(e).(*kept)
	k.listed = false
	delete(s.byKey, k.key)
	s.size -= k.size
}
