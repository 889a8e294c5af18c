package watermark

// Reason says why the watermark cannot pass an ordinal.
type Reason int

const (
	// Unrouted: no routing of the ordinal has arrived. Normal for the newest
	// ordinals; a lost message when the queues of the run are empty.
	Unrouted Reason = iota
	// Lagging: the selector passed over the job here; the ordinal is to be
	// replayed from the feed log.
	Lagging
	// Undone: rows of the batch went to the job and are not all done.
	Undone
)

func (r Reason) String() string {
	switch r {
	case Lagging:
		return "lagging"
	case Undone:
		return "undone"
	default:
		return "unrouted"
	}
}

// Hole is an ordinal that the watermark cannot pass.
type Hole struct {
	Ordinal uint64
	Reason  Reason
}

// Pending counts the holes between the watermark and the head, by reason.
type Pending struct{ Unrouted, Lagging, Undone int }

// Total is the number of holes.
func (p Pending) Total() int { return p.Unrouted + p.Lagging + p.Undone }

// Pending counts what is outstanding, in constant time. It is zero exactly when
// the watermark has reached the head.
func (w *Watermark) Pending() Pending {
	return Pending{
		Unrouted: int(w.head-w.now.Ordinal) - w.routed - w.lagging,
		Lagging:  w.lagging,
		Undone:   w.undone,
	}
}

// Holes lists the oldest holes, at most limit of them, in order. They are what
// the no-progress check reports and what a replay has to fill. The first is
// always the ordinal after the watermark, if there is any. The cost is the
// distance from the watermark to the last hole returned.
func (w *Watermark) Holes(limit int) []Hole {
	var holes []Hole
	for o := w.now.Ordinal + 1; o <= w.head && len(holes) < limit; o++ {
		b := w.open[o]
		if b != nil && b.complete() {
			continue
		}
		holes = append(holes, Hole{Ordinal: o, Reason: reason(b)})
	}
	return holes
}

// Lagging returns the first and the last ordinal that the selector passed over the job at and that
// were not routed since; zeros if there are none. The cost is that of what is open above the
// watermark.
func (w *Watermark) Lagging() (first, last uint64) {
	if w.lagging == 0 {
		return 0, 0
	}
	for o, b := range w.open {
		if b.routed || !b.skipped {
			continue
		}
		if first == 0 || o < first {
			first = o
		}
		last = max(last, o)
	}
	return first, last
}

func reason(b *batch) Reason {
	switch {
	case b != nil && b.routed:
		return Undone
	case b != nil && b.skipped:
		return Lagging
	default:
		return Unrouted
	}
}
