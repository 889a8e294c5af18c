package replicator

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"millrace/pkg/broker"
	"millrace/pkg/watermark"
	millracev1 "millrace/proto/millrace/v1"
)

// newRun is run 3 of job j, which joined its feed with the roster's revision 10.
func newRun() *run {
	return &run{
		job:      &millracev1.Job{Id: "j", Run: 3, Feed: "f"},
		progress: &millracev1.Progress{Joined: 10},
		mark:     watermark.New(watermark.Position{}), window: newWindow(0, 0),
		log: slog.New(slog.DiscardHandler), lag: time.NewTimer(time.Hour),
	}
}

// routedEntry is the record as a run gets it.
func routedEntry(t *testing.T, sequence uint64, m *millracev1.Routed) record[*routing] {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	value, err := decodeRouting(broker.Entry{Sequence: sequence, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return record[*routing]{sequence, value}
}

func doneEntry(sequence uint64, m *millracev1.Done) record[*millracev1.Done] {
	return record[*millracev1.Done]{sequence, m}
}

func routed(ordinal uint64, change func(*millracev1.Routed)) *millracev1.Routed {
	r := &millracev1.Routed{Feed: "f", Epoch: 5, Ordinal: ordinal, Roster: 10, Seq: []byte(`"x"`)}
	if change != nil {
		change(r)
	}
	return r
}

func done(ordinal uint64) *millracev1.Done {
	return &millracev1.Done{Position: &millracev1.Position{Job: "j", Run: 3, Feed: "f", Epoch: 5, Ordinal: ordinal}}
}

func named(job string, run uint64) []*millracev1.RoutedJob {
	return []*millracev1.RoutedJob{{Job: job, Run: run}}
}

func TestWatermarkFollowsWhatIsRoutedAndDone(t *testing.T) {
	for name, c := range map[string]struct {
		routed *millracev1.Routed
		done   *millracev1.Done
		want   uint64
		hole   watermark.Reason
	}{
		"nobody wanted it":                 {routed: routed(1, nil), want: 1},
		"others wanted it":                 {routed: routed(1, func(r *millracev1.Routed) { r.Named = named("k", 3) }), want: 1},
		"an older run of the job had it":   {routed: routed(1, func(r *millracev1.Routed) { r.Named = named("j", 2) }), want: 1},
		"wanted and not done":              {routed: routed(1, func(r *millracev1.Routed) { r.Named = named("j", 3) }), hole: watermark.Undone},
		"wanted and done":                  {routed: routed(1, func(r *millracev1.Routed) { r.Named = named("j", 3) }), done: done(1), want: 1},
		"passed over":                      {routed: routed(1, func(r *millracev1.Routed) { r.Skipped = named("j", 3) }), hole: watermark.Lagging},
		"routed before the run had joined": {routed: routed(1, func(r *millracev1.Routed) { r.Roster = 9 }), hole: watermark.Lagging},
		"routed so, and replayed for it": {routed: routed(1, func(r *millracev1.Routed) {
			r.Roster, r.Only, r.Named = 9, named("j", 3)[0], named("j", 3)
		}), done: done(1), want: 1},
	} {
		r := newRun()
		if err := r.tookRouted(routedEntry(t, 1, c.routed)); err != nil {
			t.Fatal(err)
		}
		if c.done != nil {
			if err := r.tookDone(doneEntry(1, c.done)); err != nil {
				t.Fatal(err)
			}
		}
		if r.mark.Ordinal() != c.want {
			t.Errorf("%s: watermark %d, want %d", name, r.mark.Ordinal(), c.want)
		}
		if holes := r.mark.Holes(1); c.want == 0 && (len(holes) != 1 || holes[0].Reason != c.hole) {
			t.Errorf("%s: holes %v, want one that is %s", name, holes, c.hole)
		}
	}
}

func TestRecordsOfOthersMoveNothing(t *testing.T) {
	r := newRun()
	if err := r.tookRouted(routedEntry(t, 1, routed(1, func(r *millracev1.Routed) { r.Only = named("k", 3)[0] }))); err != nil {
		t.Fatal(err)
	}
	if err := r.tookRouted(routedEntry(t, 2, routed(1, func(r *millracev1.Routed) { r.Named = named("j", 3) }))); err != nil {
		t.Fatal(err)
	}
	old := done(1)
	old.Position.Run = 2
	if err := r.tookDone(doneEntry(1, old)); err != nil {
		t.Fatal(err)
	}
	if r.mark.Ordinal() != 0 {
		t.Errorf("watermark %d", r.mark.Ordinal())
	}
}

// What is done of batch 1 of one owner says nothing about batch 1 of another.
func TestOrdinalThatWasUsedTwiceEndsTheRun(t *testing.T) {
	r := newRun()
	if err := r.tookDone(doneEntry(1, done(1))); err != nil {
		t.Fatal(err)
	}
	err := r.tookRouted(routedEntry(t, 1, routed(1, func(r *millracev1.Routed) { r.Epoch, r.Named = 6, named("j", 3) })))
	var c *crash
	if !errors.As(err, &c) || !c.lost {
		t.Errorf("got %v", err)
	}
}

func TestEventsOfTheRunEndIt(t *testing.T) {
	for name, c := range map[string]struct {
		event *millracev1.Event
		ends  bool
	}{
		"of another run": {&millracev1.Event{Position: &millracev1.Position{Run: 2}, Class: millracev1.Event_CLASS_TRANSIENT}, false},
		"for people":     {&millracev1.Event{Position: &millracev1.Position{Run: 3}, Class: millracev1.Event_CLASS_INFO}, false},
		"transient":      {&millracev1.Event{Position: &millracev1.Position{Run: 3}, Class: millracev1.Event_CLASS_TRANSIENT, RetryAfterMs: 7}, true},
		"permanent":      {&millracev1.Event{Position: &millracev1.Position{Run: 3}, Class: millracev1.Event_CLASS_PERMANENT}, true},
		"feed lost":      {&millracev1.Event{Position: &millracev1.Position{Run: 3}, Class: millracev1.Event_CLASS_FEED_LOST}, true},
	} {
		err := newRun().tookEvent(t.Context(), c.event)
		var ended *crash
		if errors.As(err, &ended) != c.ends {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !c.ends {
			continue
		}
		if ended.permanent != (name == "permanent") || ended.lost != (name == "feed lost") || (ended.after > 0) != (name == "transient") {
			t.Errorf("%s: %+v", name, ended)
		}
	}
}

// Whatever is checkpointed, no record is purged that an owner who begins there still needs,
// and every row is counted once.
func TestPurgeKeepsTheRecordsAboveTheCheckpoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "batches")
		w := newWindow(0, 0)
		routedAt, doneAt := map[uint64]uint64{}, map[uint64]uint64{}
		order := func(label string) []int {
			ordinals := make([]int, n)
			for i := range ordinals {
				ordinals[i] = i + 1
			}
			return rapid.Permutation(ordinals).Draw(t, label)
		}
		for i, o := range order("routed") {
			routedAt[uint64(o)] = uint64(i + 1)
			w.heardRouted(uint64(i + 1))
			w.sawRouted(uint64(o), 1, uint64(i+1), uint64(o))
		}
		for i, o := range order("done") {
			doneAt[uint64(o)] = uint64(i + 1)
			w.heardDone(uint64(i + 1))
			w.sawDone(uint64(o), 1, uint64(i+1))
		}
		last := uint64(0)
		for range rapid.IntRange(1, 4).Draw(t, "checkpoints") {
			last = max(last, uint64(rapid.IntRange(0, n).Draw(t, "ordinal")))
			routed, done := w.checkpointed(last)
			for o := last + 1; o <= uint64(n); o++ {
				if routedAt[o] < routed || doneAt[o] < done {
					t.Fatalf("the records of batch %d were purged by a checkpoint of %d", o, last)
				}
			}
			if rows := w.rowsUpTo(last); rows != last*(last+1)/2 {
				t.Fatalf("%d rows up to %d", rows, last)
			}
			if len(w.open) != n-int(last) {
				t.Fatalf("%d batches are remembered above %d of %d", len(w.open), last, n)
			}
		}
	})
}
