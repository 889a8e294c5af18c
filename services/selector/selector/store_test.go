package selector

import (
	"fmt"
	"testing"
)

func fill(s *store, key batchKey, size int) *kept {
	k := s.of(key)
	k.read, k.size = true, size
	s.filled(k)
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

func TestStoreForgetsAFeedAndWhatIsNotKept(t *testing.T) {
	s := newStore(100)
	for i := range uint64(3) {
		fill(s, batchKey{"f", i}, 10)
		fill(s, batchKey{"g", i}, 10)
	}
	reading := s.of(batchKey{"f", 9}) // somebody has it
	s.forget("f")
	reading.read, reading.size = true, 10
	s.filled(reading)
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
