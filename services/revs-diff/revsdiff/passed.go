package revsdiff

import (
	"slices"
	"sync"

	millracev1 "millrace/proto/millrace/v1"
)

// passedLimit is how many batches of a run are known to have been passed on. A batch comes twice when it
// was routed again while it was on its way, at about the same time.
const passedLimit = 256

// passed is which batches of one run were passed on to be fetched. One that comes again is not asked about
// again: what was written of it meanwhile would be taken for what the target had before, the batch would be
// done with nothing, and what is written counted nowhere. It is a cache: without it the
// documents arrive as well (invariant 2).
type passed struct {
	mu      sync.Mutex
	batches []batch // oldest first
}

// batch is one of a run, whose feed is always the same.
type batch struct{ epoch, ordinal uint64 }

func batchOf(p *millracev1.Position) batch { return batch{p.GetEpoch(), p.GetOrdinal()} }

func (p *passed) has(at *millracev1.Position) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.batches, batchOf(at))
}

func (p *passed) add(at *millracev1.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.batches, batchOf(at)) {
		return
	}
	if len(p.batches) == passedLimit {
		p.batches = slices.Delete(p.batches, 0, passedLimit/4)
	}
	p.batches = append(p.batches, batchOf(at))
}

func (p *passed) remove(at *millracev1.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches = slices.DeleteFunc(p.batches, func(b batch) bool { return b == batchOf(at) })
}
