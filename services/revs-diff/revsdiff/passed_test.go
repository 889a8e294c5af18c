package revsdiff

import (
	"testing"

	millracev1 "millrace/proto/millrace/v1"
)

func TestBatchesThatWerePassedOnLastAreKnown(t *testing.T) {
	at := func(ordinal uint64) *millracev1.Position { return &millracev1.Position{Epoch: 1, Ordinal: ordinal} }
	p := &passed{}
	for ordinal := range uint64(10 * passedLimit) {
		p.add(at(ordinal))
		p.add(at(ordinal))
		if len(p.batches) > passedLimit {
			t.Fatalf("%d batches are kept", len(p.batches))
		}
	}
	last := uint64(10*passedLimit - 1)
	p.remove(at(last))
	for ordinal, want := range map[uint64]bool{0: false, last - passedLimit: false, last - passedLimit/2: true, last - 1: true, last: false} {
		if got := p.has(at(ordinal)); got != want {
			t.Errorf("%d of %d is known: %t", ordinal, last, got)
		}
	}
	if p.has(&millracev1.Position{Epoch: 2, Ordinal: last - 1}) {
		t.Error("a batch of another owner is taken for it")
	}
}
