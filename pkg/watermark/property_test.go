package watermark

import (
	"fmt"
	"testing"

	"millrace/pkg/replication"
	"pgregory.net/rapid"
)

// message is one call of Watermark, as data.
type message struct {
	routing *Routing
	part    *Part
	skipped uint64
}

func (m message) ordinal() uint64 {
	switch {
	case m.routing != nil:
		return m.routing.Ordinal
	case m.part != nil:
		return m.part.Ordinal
	default:
		return m.skipped
	}
}

func (m message) send(t *rapid.T, w *Watermark) {
	switch {
	case m.routing != nil:
		w.Routed(*m.routing)
	case m.part != nil:
		if err := w.Done(*m.part); err != nil {
			t.Fatalf("Done: %v", err)
		}
	default:
		w.Skipped(m.skipped)
	}
}

// model answers from all messages it was ever sent, by brute force.
type model struct {
	start uint64
	sent  []message
}

// batch reports whether an ordinal is complete, its seq and its counters.
func (m *model) batch(o uint64) (complete bool, seq []byte, total replication.Stats) {
	var isRouted, isNamed, finished bool
	parts := map[string]map[uint32]Part{}
	for _, msg := range m.sent {
		if msg.ordinal() != o {
			continue
		}
		if r := msg.routing; r != nil {
			isRouted, isNamed, seq = true, isNamed || r.Named, r.Seq
		}
		if p := msg.part; p != nil && !finished {
			if parts[p.Attempt] == nil {
				parts[p.Attempt] = map[uint32]Part{}
			}
			parts[p.Attempt][p.Number] = *p
			if finished = hasAll(parts[p.Attempt]); finished {
				for _, q := range parts[p.Attempt] {
					total = total.Add(q.Stats)
				}
			}
		}
	}
	if !isNamed {
		total = replication.Stats{}
	}
	return isRouted && (finished || !isNamed), seq, total
}

// hasAll counts from 1 up to a part that is the last.
func hasAll(parts map[uint32]Part) bool {
	for n := uint32(1); ; n++ {
		p, ok := parts[n]
		if !ok || p.Last {
			return ok
		}
	}
}

func (m *model) positions() (now, safe Position) {
	now.Ordinal, safe.Ordinal = m.start, m.start
	for {
		complete, seq, total := m.batch(now.Ordinal + 1)
		if !complete {
			return now, safe
		}
		now.Ordinal++
		now.Stats = now.Stats.Add(total)
		if seq != nil {
			now.Seq = seq
			safe = now
		}
	}
}

// feed draws what is said about n batches after start: routings, parts of
// attempts that complete or not, and skips.
func feed(t *rapid.T, start uint64, n int) []message {
	var msgs []message
	for o := start + 1; o <= start+uint64(n); o++ {
		r := Routing{Ordinal: o, Named: rapid.Bool().Draw(t, "named")}
		if rapid.Bool().Draw(t, "has seq") {
			r.Seq = fmt.Appendf(nil, "%q", fmt.Sprintf("%d-opaque", o))
		}
		msgs = append(msgs, message{routing: &r})
		if rapid.IntRange(0, 4).Draw(t, "skip") == 0 {
			msgs = append(msgs, message{skipped: o})
		}
		if r.Named {
			msgs = append(msgs, attempts(t, o)...)
		}
	}
	return msgs
}

func attempts(t *rapid.T, o uint64) []message {
	var msgs []message
	for a := range rapid.IntRange(1, 3).Draw(t, "attempts") {
		parts := rapid.IntRange(1, 4).Draw(t, "parts")
		for p := 1; p <= parts; p++ {
			msgs = append(msgs, message{part: &Part{
				Ordinal: o, Attempt: fmt.Sprint(a), Number: uint32(p), Last: p == parts,
				Stats: replication.Stats{
					DocsRead:    rapid.Int64Range(0, 9).Draw(t, "read"),
					DocsWritten: rapid.Int64Range(0, 9).Draw(t, "written"),
				},
			}})
		}
	}
	return msgs
}

// delivery repeats some messages and puts all in a random order.
func delivery(t *rapid.T, msgs []message) []message {
	for _, m := range msgs {
		for range rapid.IntRange(0, 2).Draw(t, "repeats") {
			msgs = append(msgs, m)
		}
	}
	return rapid.Permutation(msgs).Draw(t, "order")
}

func equal(a, b Position) bool {
	return a.Ordinal == b.Ordinal && string(a.Seq) == string(b.Seq) && a.Stats == b.Stats && a.End == b.End
}

func now(w *Watermark) Position {
	return Position{Ordinal: w.Ordinal(), Seq: w.Seq(), Stats: w.Stats(), End: w.End()}
}

func TestWatermarkAgreesWithTheModelAfterEveryMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint64Range(0, 1000).Draw(t, "start")
		msgs := delivery(t, feed(t, start, rapid.IntRange(1, 8).Draw(t, "batches")))
		w, m := New(Position{Ordinal: start}), &model{start: start}
		for i, msg := range msgs {
			msg.send(t, w)
			m.sent = append(m.sent, msg)
			wantNow, wantSafe := m.positions()
			if !equal(now(w), wantNow) {
				t.Fatalf("after message %d: %+v, model says %+v", i, now(w), wantNow)
			}
			if !equal(w.Checkpoint(), wantSafe) {
				t.Fatalf("after message %d: checkpoint %+v, model says %+v", i, w.Checkpoint(), wantSafe)
			}
			checkHoles(t, w, m)
		}
	})
}

// checkHoles compares the constant-time count with the list, and the list with
// the model; and memory with the window (invariant 5).
func checkHoles(t *rapid.T, w *Watermark, m *model) {
	var want []uint64
	for o := w.Ordinal() + 1; o <= w.Head(); o++ {
		if complete, _, _ := m.batch(o); !complete {
			want = append(want, o)
		}
	}
	holes := w.Holes(1 << 20)
	count := map[Reason]int{}
	for i, h := range holes {
		count[h.Reason]++
		if i >= len(want) || h.Ordinal != want[i] {
			t.Fatalf("holes %v, model says %v", holes, want)
		}
	}
	p := Pending{Unrouted: count[Unrouted], Lagging: count[Lagging], Undone: count[Undone]}
	if len(holes) != len(want) || w.Pending() != p {
		t.Fatalf("holes %v, model says %v; Pending() = %+v", holes, want, w.Pending())
	}
	if uint64(len(w.open)) > w.Head()-w.Ordinal() {
		t.Fatalf("%d batches kept for a window of %d", len(w.open), w.Head()-w.Ordinal())
	}
}

func TestEverythingDeliveredReachesTheHeadAndKeepsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 10).Draw(t, "batches")
		w := New(Position{})
		for _, msg := range delivery(t, feed(t, 0, n)) {
			before := w.Ordinal()
			msg.send(t, w)
			if w.Ordinal() < before {
				t.Fatalf("the watermark went back from %d to %d", before, w.Ordinal())
			}
		}
		if w.Ordinal() != uint64(n) || len(w.open) != 0 || w.Pending() != (Pending{}) {
			t.Fatalf("ordinal %d of %d, %d kept, pending %+v", w.Ordinal(), n, len(w.open), w.Pending())
		}
	})
}

// Whatever is lost, with all its repetitions, the watermark never passes a
// batch that needed it (invariant 1).
func TestLostMessageIsNeverPassed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msgs := feed(t, 0, rapid.IntRange(1, 8).Draw(t, "batches"))
		lost := uint64(rapid.IntRange(1, int(msgs[len(msgs)-1].ordinal())).Draw(t, "lost batch"))
		loseRouting := rapid.Bool().Draw(t, "lose the routing")
		var rest []message
		isNamed := false
		for _, m := range msgs {
			hit := m.ordinal() == lost
			if hit && m.routing != nil {
				isNamed = m.routing.Named
			}
			if hit && loseRouting && m.routing != nil {
				continue
			}
			if hit && !loseRouting && m.part != nil && m.part.Number == 1 {
				continue // of every attempt
			}
			rest = append(rest, m)
		}
		if !loseRouting && !isNamed {
			t.Skip("nothing was needed but the routing")
		}
		w := New(Position{})
		for _, m := range delivery(t, rest) {
			m.send(t, w)
		}
		if w.Ordinal() != lost-1 {
			t.Fatalf("ordinal %d, want to stop below %d", w.Ordinal(), lost)
		}
		if h := w.Holes(1); len(h) == 0 && w.Head() >= lost {
			t.Fatal("the hole is not listed")
		}
	})
}

func TestRestartFromACheckpointReachesTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msgs := delivery(t, feed(t, 0, rapid.IntRange(1, 8).Draw(t, "batches")))
		crash := rapid.IntRange(0, len(msgs)).Draw(t, "crash after")
		w := New(Position{})
		for _, m := range msgs[:crash] {
			m.send(t, w)
		}
		resumed := New(w.Checkpoint())
		for _, m := range msgs[crash:] {
			m.send(t, w)
		}
		for _, m := range msgs { // the logs are read again from their beginning
			m.send(t, resumed)
		}
		if !equal(now(resumed), now(w)) || !equal(resumed.Checkpoint(), w.Checkpoint()) {
			t.Fatalf("resumed %+v, uninterrupted %+v", now(resumed), now(w))
		}
	})
}
