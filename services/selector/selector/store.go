package selector

import (
	"container/list"
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

// kept is the leaves of one batch. Who decides on them holds its lock: it may publish them.
type kept struct {
	mu     sync.Mutex
	key    batchKey
	leaves []*leaf
	size   int
}

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

// get returns what was read of a batch; nil if that is not kept.
func (s *store) get(key batchKey) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byKey[key]
	if e == nil {
		return nil
	}
	s.order.MoveToFront(e)
	return e.Value.(*kept)
}

// put keeps what was read of a batch, and drops what was used longest ago.
func (s *store) put(k *kept) {
	for _, l := range k.leaves {
		k.size += len(l.doc) + len(l.meta.ID) + 200
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[k.key] != nil || k.size > s.limit {
		return
	}
	s.byKey[k.key] = s.order.PushFront(k)
	s.size += k.size
	for s.size > s.limit {
		s.drop(s.order.Back())
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
	delete(s.byKey, k.key)
	s.size -= k.size
}
