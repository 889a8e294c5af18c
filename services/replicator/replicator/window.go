package replicator

// window remembers, of the ordinals that no checkpoint covers yet, how many rows
// they have and where their records stand in the logs. It is bounded by what is
// under way.
type window struct {
	open map[uint64]*records
	// rows at or below the ordinal that was counted last.
	rows    uint64
	counted uint64
	// the newest records seen
	routed, done uint64
}

// records are the first stream sequences of an ordinal's records; 0 for none yet.
type records struct {
	rows         uint64
	routed, done uint64
}

func newWindow(counted, rows uint64) *window {
	return &window{open: map[uint64]*records{}, counted: counted, rows: rows}
}

func (w *window) at(ordinal uint64) *records {
	r := w.open[ordinal]
	if r == nil {
		r = &records{}
		w.open[ordinal] = r
	}
	return r
}

func (w *window) sawRouted(ordinal, sequence, rows uint64) {
	w.routed = max(w.routed, sequence)
	if ordinal <= w.counted {
		return
	}
	r := w.at(ordinal)
	r.rows = rows
	if r.routed == 0 {
		r.routed = sequence
	}
}

func (w *window) sawDone(ordinal, sequence uint64) {
	w.done = max(w.done, sequence)
	if ordinal <= w.counted {
		return
	}
	if r := w.at(ordinal); r.done == 0 {
		r.done = sequence
	}
}

// rowsUpTo says how many rows lie at or below an ordinal that is done.
func (w *window) rowsUpTo(ordinal uint64) uint64 {
	rows := w.rows
	for o, r := range w.open {
		if o <= ordinal {
			rows += r.rows
		}
	}
	return rows
}

// checkpointed forgets the ordinals that a checkpoint covers and returns the
// sequences below which both logs are of no more use: whoever takes over reads them
// from there.
func (w *window) checkpointed(ordinal uint64) (routed, done uint64) {
	routed, done = w.routed+1, w.done+1
	for o, r := range w.open {
		if o <= ordinal {
			w.rows += r.rows
			delete(w.open, o)
			continue
		}
		if r.routed > 0 {
			routed = min(routed, r.routed)
		}
		if r.done > 0 {
			done = min(done, r.done)
		}
	}
	w.counted = max(w.counted, ordinal)
	return routed, done
}
