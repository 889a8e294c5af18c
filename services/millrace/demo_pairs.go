package main

import "time"

// pairsKept is how many changes may wait for their counterpart at the other side.
const pairsKept = 100_000

// pairs puts together what is seen at the source with what is seen at the target. It
// remembers a bounded number of changes (invariant 5): those that never have a
// counterpart, because the other side skipped to a newer revision, are forgotten.
type pairs struct {
	limit int
	alone map[pairKey]sighting
	order []pairKey // oldest first, with keys that are not alone any more
}

type pairKey struct{ id, rev string }

func newPairs(limit int) *pairs { return &pairs{limit: limit, alone: map[pairKey]sighting{}} }

// add takes in a change. If it is the second of its pair, it returns how long after the
// source's the target's was seen.
func (p *pairs) add(s sighting) (latency time.Duration, both bool) {
	key := pairKey{s.id, s.rev}
	first, there := p.alone[key]
	switch {
	case !there:
		p.alone[key] = s
		p.order = append(p.order, key)
		p.forget()
		return 0, false
	case first.side == s.side: // the same winner again, after an edit of a branch that loses
		return 0, false
	}
	delete(p.alone, key)
	if s.side == atSource { // the feeds are read by two goroutines
		return max(0, first.at.Sub(s.at)), true
	}
	return max(0, s.at.Sub(first.at)), true
}

// forget drops what is over the limit, and the keys that are done with.
func (p *pairs) forget() {
	for len(p.order) > 0 {
		oldest := p.order[0]
		if _, alone := p.alone[oldest]; alone && len(p.order) <= p.limit {
			return
		}
		delete(p.alone, oldest)
		p.order = p.order[1:]
	}
}
