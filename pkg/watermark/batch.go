package watermark

import "millrace/pkg/replication"

// batch is what is known of one ordinal above the watermark.
type batch struct {
	routed, named, skipped, done bool

	seq      []byte
	total    replication.Stats // of the attempt that completed, once done
	attempts map[string]*attempt
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

// add records a part. What comes after the first complete attempt is of no
// interest.
func (b *batch) add(p Part) {
	if b.done {
		return
	}
	if p.Number == 1 && p.Last { // not split: the common case
		b.finish(p.Stats)
		return
	}
	a := b.attempt(p.Attempt)
	a.add(p)
	if a.complete() {
		b.finish(a.total)
	}
}

func (b *batch) attempt(id string) *attempt {
	if b.attempts == nil {
		b.attempts = make(map[string]*attempt)
	}
	a := b.attempts[id]
	if a == nil {
		a = &attempt{seen: make(map[uint32]struct{})}
		b.attempts[id] = a
	}
	return a
}

// finish freezes the counters and drops the parts (invariant 5).
func (b *batch) finish(total replication.Stats) {
	b.done, b.total, b.attempts = true, total, nil
}

// attempt collects the parts of one delivery of a batch.
type attempt struct {
	seen    map[uint32]struct{}
	highest uint32 // number seen
	last    uint32 // highest number that was marked last; 0 for none
	total   replication.Stats
}

// add records a part; its counters enter once, those of its first report.
func (a *attempt) add(p Part) {
	a.highest = max(a.highest, p.Number)
	if p.Last {
		a.last = max(a.last, p.Number)
	}
	if _, repeated := a.seen[p.Number]; repeated {
		return
	}
	a.seen[p.Number] = struct{}{}
	a.total = a.total.Add(p.Stats)
}

// complete reports that the parts have no gap and that the highest of them is
// the last: a part above the one that was marked last is a contradiction, and
// waits rather than be lost (invariant 1).
func (a *attempt) complete() bool {
	return a.last == a.highest && uint64(len(a.seen)) == uint64(a.last)
}
