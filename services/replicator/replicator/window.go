package replicator

// window remembers, of the ordinals that no checkpoint covers yet, how many rows
// they have and where their records stand in the logs. It is bounded by what is
// under way.
type window struct {
	open map[uint64]*records
	// rows at or below the ordinal that was counted last.
	rows    uint64
	counted uint64
	// the newest records heard, whatever run they are of
	routed, done uint64
}

// records are the first stream sequences of an ordinal's records; 0 for none yet.
type records struct {
	rows         uint64
	routed, done uint64
	// epoch in which the batch was read; 0 while it is not known.
	epoch uint64
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

func (w *window) heardRouted(sequence uint64) { w.routed = max(w.routed, sequence) }

func (w *window) heardDone(sequence uint64) { w.done = max(w.done, sequence) }

// sawRouted and sawDone take in a record of the run. They report whether its batch is
// the one that other records of the ordinal are about: an ordinal has one batch, read in
// one epoch (ADR 001).
func (w *window) sawRouted(ordinal, epoch, sequence, rows uint64) bool {
	if ordinal <= w.counted {
		return true
	}
	r := w.at(ordinal)
	r.rows = rows
	if r.routed == 0 {
		r.routed = sequence
	}
	return r.of(epoch)
}

func (w *window) sawDone(ordinal, epoch, sequence uint64) bool {
	if ordinal <= w.counted {
		return true
	}
	r := w.at(ordinal)
	if r.done == 0 {
		r.done = sequence
	}
	return r.of(epoch)
}

func (r *records) of(epoch uint64) bool {
	if r.epoch == 0 {
		r.epoch = epoch
	}
	return r.epoch == epoch
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
