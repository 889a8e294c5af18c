package selector

import (
	"fmt"
	"sync"
	"testing"
)

func fill(s *store, key batchKey, size int) *kept {
	k := s.of(key)
	k.read = true
	s.filled(k, size)
	return k
}

func TestStoreDropsWhatWasUsedLongestAgo(t *testing.T) {
	s := newStore(100)
	for i := range uint64(4) {
		fill(s, batchKey{"f", i}, 25)
	}
	s.of(batchKey{"f", 0})
	fill(s, batchKey{"f", 4}, 25)
	for i, want := range []bool{true, false, true, true, true} {
		if _, there := s.byKey[batchKey{"f", uint64(i)}]; there != want {
			t.Errorf("batch %d: %v", i, there)
		}
	}
	if s.size != 100 || s.order.Len() != 4 {
		t.Errorf("%d bytes in %d", s.size, s.order.Len())
	}
}

// A feed may end while one of its batches is read.
func TestStoreForgetsWhileABatchIsFilled(t *testing.T) {
	for range 100 {
		s := newStore(100)
		k := s.of(batchKey{"f", 1})
		var both sync.WaitGroup
		both.Go(func() { s.forget("f") })
		both.Go(func() { s.filled(k, 10) })
		both.Wait()
		if s.size != 0 || s.order.Len() != 0 {
			t.Fatalf("%d bytes in %d", s.size, s.order.Len())
		}
	}
}

func TestStoreForgetsAFeedAndWhatIsNotKept(t *testing.T) {
	s := newStore(100)
	for i := range uint64(3) {
		fill(s, batchKey{"f", i}, 10)
		fill(s, batchKey{"g", i}, 10)
	}
	reading := s.of(batchKey{"f", 9}) // somebody has it
	s.forget("f")
	reading.read = true
	s.filled(reading, 10)
	if s.size != 30 || s.order.Len() != 3 || len(s.byKey) != 3 {
		t.Errorf("%d bytes in %d", s.size, s.order.Len())
	}
	k := s.of(batchKey{"g", 9})
	s.abandon(k)
	s.abandon(k)
	if s.size != 30 || len(s.byKey) != 3 {
		t.Errorf("%d bytes in %s", s.size, fmt.Sprint(len(s.byKey)))
	}
	if s.fits(26) || !s.fits(25) {
		t.Error("one batch takes more than a quarter, or less")
	}
}
