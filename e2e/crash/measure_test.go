package crash

import (
	"encoding/json"
	"testing"
)

// measure is what was known of a pair at one moment, to tell later what was copied
// again.
type measure struct {
	pair
	seq     json.RawMessage // of the target's newest checkpoint
	covered map[leaf]bool   // leaves at or below it
	reads   map[leaf]int
}

func (p pair) measure(t *testing.T) measure {
	t.Helper()
	m := measure{pair: p, seq: p.checkpointed(), reads: p.source.reads(p.name)}
	m.covered = p.source.leaves(t, p.name, nil)
	for l := range p.source.leaves(t, p.name, m.seq) {
		delete(m.covered, l)
	}
	return m
}

// judge counts what was read again although a checkpoint covered it. Documents that
// changed later are another matter: all their leaves are in one row.
func (m measure) judge(t *testing.T, allowed int) {
	t.Helper()
	changed := make(map[string]bool)
	for l := range m.source.leaves(t, m.name, m.seq) {
		changed[l.id] = true
	}
	reads, repeated := m.source.reads(m.name), 0
	for l := range m.covered {
		if !changed[l.id] {
			repeated += reads[l] - m.reads[l]
		}
	}
	t.Logf("%s: %d revisions read, %d of them more than once; %d were covered by a checkpoint at that moment, %d of them read again",
		m.name, len(reads), again(reads), len(m.covered), repeated)
	if repeated > allowed {
		t.Errorf("%s: %d revisions that a checkpoint covered were read again; at most %d can have been in hand", m.name, repeated, allowed)
	}
}
