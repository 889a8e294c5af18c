package watermark

import "millrace/pkg/replication"

// batch is what is known of one ordinal above the watermark.
type batch struct {
	routed, named, skipped, done bool

	seq      []byte
	total    replication.Stats // of the attempt that completed, once done
	attempts map[split]*attempt
}

// split identifies an attempt. The number of parts belongs to it: reports that
// disagree about it can then never add up to a completeness that is not there
// (invariant 1).
type split struct {
	attempt string
	parts   uint32
}

// attempt collects the parts of one split.
type attempt struct {
	seen  map[uint32]struct{}
	total replication.Stats
}

// complete reports that the watermark may pass the batch.
func (b *batch) complete() bool { return b.routed && (b.done || !b.named) }

// stats are the counters that the batch contributes: none when nobody wanted it.
func (b *batch) stats() replication.Stats {
	if !b.named {
		return replication.Stats{}
	}
	return b.total
}

func (b *batch) route(r Routing) {
	b.routed = true
	b.named = b.named || r.Named
	if r.Seq != nil {
		b.seq = r.Seq
	}
}

// add records a part of an attempt; a part that was reported before adds
// nothing. Parts after the first complete attempt are of no interest.
func (b *batch) add(p Part) {
	if b.done {
		return
	}
	if p.Parts == 1 {
		b.finish(p.Stats)
		return
	}
	a := b.attempt(split{p.Attempt, p.Parts})
	if _, dup := a.seen[p.Part]; dup {
		return
	}
	a.seen[p.Part] = struct{}{}
	a.total = a.total.Add(p.Stats)
	if uint32(len(a.seen)) == p.Parts {
		b.finish(a.total)
	}
}

func (b *batch) attempt(s split) *attempt {
	if b.attempts == nil {
		b.attempts = make(map[split]*attempt)
	}
	a := b.attempts[s]
	if a == nil {
		a = &attempt{seen: make(map[uint32]struct{})}
		b.attempts[s] = a
	}
	return a
}

// finish freezes the counters and drops the parts (invariant 5).
func (b *batch) finish(total replication.Stats) {
	b.done, b.total, b.attempts = true, total, nil
}
