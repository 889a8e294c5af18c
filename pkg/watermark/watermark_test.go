package watermark

import (
	"errors"
	"testing"

	"millrace/pkg/replication"
)

func routed(o uint64) Routing { return Routing{Ordinal: o} }
func named(o uint64) Routing  { return Routing{Ordinal: o, Named: true} }

func whole(o uint64) Part {
	return Part{Ordinal: o, Attempt: "a", Number: 1, Last: true, Stats: written(1)}
}

func written(n int64) replication.Stats { return replication.Stats{DocsWritten: n} }

func done(t *testing.T, w *Watermark, parts ...Part) {
	t.Helper()
	for _, p := range parts {
		if err := w.Done(p); err != nil {
			t.Fatalf("Done(%+v): %v", p, err)
		}
	}
}

func wantOrdinal(t *testing.T, w *Watermark, want uint64) {
	t.Helper()
	if got := w.Ordinal(); got != want {
		t.Fatalf("Ordinal() = %d, want %d", got, want)
	}
}

func TestUnnamedBatchIsPassedWhenRouted(t *testing.T) {
	w := New(Position{Ordinal: 41})
	w.Routed(routed(42))
	wantOrdinal(t, w, 42)
}

func TestNamedBatchIsPassedWhenRoutedAndDone(t *testing.T) {
	w := New(Position{})
	w.Routed(named(1))
	wantOrdinal(t, w, 0)
	done(t, w, whole(1))
	wantOrdinal(t, w, 1)
}

func TestDoneMayComeBeforeRouted(t *testing.T) {
	w := New(Position{})
	done(t, w, whole(1))
	wantOrdinal(t, w, 0)
	w.Routed(named(1))
	wantOrdinal(t, w, 1)
}

func TestHoleHoldsBackEverythingAbove(t *testing.T) {
	w := New(Position{})
	w.Routed(routed(2))
	w.Routed(routed(3))
	wantOrdinal(t, w, 0)
	w.Routed(routed(1))
	wantOrdinal(t, w, 3)
}

func TestPartsOfTwoAttemptsDoNotAddUp(t *testing.T) {
	w := New(Position{})
	w.Routed(named(1))
	done(t, w,
		Part{Ordinal: 1, Attempt: "a", Number: 1, Stats: written(10)},
		Part{Ordinal: 1, Attempt: "b", Number: 2, Last: true, Stats: written(200)},
		Part{Ordinal: 1, Attempt: "c", Number: 2, Stats: written(3000)},
	)
	wantOrdinal(t, w, 0)
	done(t, w, Part{Ordinal: 1, Attempt: "b", Number: 1, Stats: written(100)})
	wantOrdinal(t, w, 1)
	if got := w.Stats(); got != written(300) {
		t.Errorf("Stats() = %+v, want those of attempt b alone", got)
	}
}

func TestSplitBatchWaitsForItsLastPart(t *testing.T) {
	w := New(Position{})
	w.Routed(named(1))
	done(t, w,
		Part{Ordinal: 1, Attempt: "a", Number: 1},
		Part{Ordinal: 1, Attempt: "a", Number: 2},
	)
	wantOrdinal(t, w, 0)
	done(t, w, Part{Ordinal: 1, Attempt: "a", Number: 3, Last: true})
	wantOrdinal(t, w, 1)
}

func TestPartAboveTheLastMakesTheAttemptWait(t *testing.T) {
	w := New(Position{})
	w.Routed(named(1))
	done(t, w,
		Part{Ordinal: 1, Attempt: "a", Number: 3},
		Part{Ordinal: 1, Attempt: "a", Number: 2, Last: true},
		Part{Ordinal: 1, Attempt: "a", Number: 1},
	)
	wantOrdinal(t, w, 0)
	done(t, w, Part{Ordinal: 1, Attempt: "a", Number: 3, Last: true})
	wantOrdinal(t, w, 1)
}

func TestRepeatedPartCountsOnce(t *testing.T) {
	w := New(Position{})
	w.Routed(named(1))
	first := Part{Ordinal: 1, Attempt: "a", Number: 1, Stats: written(1)}
	second := Part{Ordinal: 1, Attempt: "a", Number: 2, Last: true, Stats: written(2)}
	done(t, w, first, first, first)
	wantOrdinal(t, w, 0)
	done(t, w, second, second, first)
	if got := w.Stats(); got != written(3) {
		t.Errorf("Stats() = %+v, want 3 written", got)
	}
}

func TestStatsWaitForTheWatermark(t *testing.T) {
	w := New(Position{Stats: written(5)})
	w.Routed(named(2))
	done(t, w, whole(2))
	if got := w.Stats(); got != written(5) {
		t.Errorf("Stats() = %+v before ordinal 1 is passed, want only the start's", got)
	}
	w.Routed(routed(1))
	if got := w.Stats(); got != written(6) {
		t.Errorf("Stats() = %+v, want 6 written", got)
	}
}

func TestCheckpointCountsExactlyWhatItsSeqCovers(t *testing.T) {
	w := New(Position{})
	w.Routed(Routing{Ordinal: 1, Named: true, Seq: []byte(`"1-x"`)})
	w.Routed(Routing{Ordinal: 2, Named: true})
	done(t, w, whole(1), whole(2))
	wantOrdinal(t, w, 2)
	cp := w.Checkpoint()
	if cp.Ordinal != 1 || string(cp.Seq) != `"1-x"` || cp.Stats != written(1) {
		t.Errorf("Checkpoint() = %+v, want ordinal 1 with its own stats", cp)
	}
	if string(w.Seq()) != `"1-x"` || w.Stats() != written(2) {
		t.Errorf("Seq() = %s, Stats() = %+v", w.Seq(), w.Stats())
	}
}

func TestSkippedOrdinalIsAHoleUntilRouted(t *testing.T) {
	w := New(Position{})
	w.Skipped(1)
	w.Routed(routed(2))
	if h := w.Holes(10); len(h) != 1 || h[0] != (Hole{1, Lagging}) {
		t.Fatalf("Holes() = %v", h)
	}
	w.Routed(named(1))
	w.Skipped(1) // a late repetition
	if h := w.Holes(10); len(h) != 1 || h[0] != (Hole{1, Undone}) {
		t.Fatalf("Holes() = %v", h)
	}
	done(t, w, whole(1))
	wantOrdinal(t, w, 2)
	if h := w.Holes(10); len(h) != 0 {
		t.Fatalf("Holes() = %v, want none", h)
	}
}

func TestHolesAreTheOldestInOrder(t *testing.T) {
	w := New(Position{Ordinal: 10})
	w.Routed(routed(12))
	w.Routed(named(13))
	w.Skipped(15)
	want := []Hole{{11, Unrouted}, {13, Undone}, {14, Unrouted}}
	got := w.Holes(3)
	if len(got) != len(want) {
		t.Fatalf("Holes(3) = %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("Holes(3)[%d] = %v, want %v", i, got[i], want[i])
		}
	}
	if p := w.Pending(); p != (Pending{Unrouted: 2, Lagging: 1, Undone: 1}) || p.Total() != 4 {
		t.Errorf("Pending() = %+v", p)
	}
}

func TestEndIsReachedWhenEverythingBeforeItIsDone(t *testing.T) {
	w := New(Position{})
	w.Routed(Routing{Ordinal: 2, End: true, Seq: []byte("2")})
	if w.End() != 2 || w.EndReached() {
		t.Fatalf("End() = %d, EndReached() = %t with ordinal 1 missing", w.End(), w.EndReached())
	}
	w.Routed(routed(1))
	if !w.EndReached() {
		t.Fatal("EndReached() = false, want true")
	}
}

func TestEndSurvivesARestartAtTheEnd(t *testing.T) {
	w := New(Position{})
	w.Routed(Routing{Ordinal: 1, End: true, Seq: []byte("1")})
	if !New(w.Checkpoint()).EndReached() {
		t.Error("a run resumed at the end does not know that it is complete")
	}
	late := New(Position{Ordinal: 1})
	late.Routed(Routing{Ordinal: 1, End: true})
	if !late.EndReached() {
		t.Error("a late end marker is not recognised")
	}
}

func TestLiveFeedHasNoEnd(t *testing.T) {
	w := New(Position{})
	w.Routed(routed(1))
	if w.EndReached() {
		t.Error("EndReached() without an end marker")
	}
}

func TestPartZeroIsRefused(t *testing.T) {
	w := New(Position{})
	w.Routed(named(1))
	p := Part{Ordinal: 1, Number: 0, Last: true}
	var refused *PartError
	if err := w.Done(p); !errors.As(err, &refused) || refused.Part != p {
		t.Errorf("Done(%+v) = %v, want a PartError", p, err)
	}
	wantOrdinal(t, w, 0)
}

func TestMessagesBelowTheWatermarkLeaveNoTrace(t *testing.T) {
	w := New(Position{Ordinal: 5})
	w.Routed(named(5))
	w.Skipped(4)
	done(t, w, whole(3))
	if len(w.open) != 0 || w.Head() != 5 || w.Stats() != (replication.Stats{}) {
		t.Errorf("late messages left %d open batches, head %d, stats %+v", len(w.open), w.Head(), w.Stats())
	}
}

func TestRoutingsThatDisagreeMakeTheBatchWait(t *testing.T) {
	w := New(Position{})
	w.Routed(named(2))
	w.Routed(routed(2))
	w.Routed(routed(1))
	wantOrdinal(t, w, 1)
}
