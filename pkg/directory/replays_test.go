package directory

import (
	"testing"

	"pgregory.net/rapid"

	millracev1 "millrace/proto/millrace/v1"
)

// Batches are counted in any order, and each once.
func TestEachBatchOfAReplayCountsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		totals := &millracev1.ReplayTotals{}
		counted := map[string]map[uint64]bool{"a": {}, "b": {}}
		want := uint64(0)
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			pos := &millracev1.Position{
				Replay:  rapid.SampledFrom([]string{"a", "b"}).Draw(t, "replay"),
				Ordinal: rapid.Uint64Range(1, 12).Draw(t, "ordinal"),
			}
			fresh := !counted[pos.Replay][pos.Ordinal]
			counted[pos.Replay][pos.Ordinal] = true
			if fresh {
				want += 3
			}
			if got := count(totals, pos, &millracev1.Counters{DocsWritten: 3}); got != fresh {
				t.Fatalf("%v counts: %t", pos, got)
			}
		}
		if got := totals.GetCounters().GetDocsWritten(); got != want {
			t.Fatalf("%d, expected %d", got, want)
		}
	})
}

// What is remembered is bounded: the newest replays, and of each what is not contiguous.
func TestWhatIsRememberedOfReplaysIsBounded(t *testing.T) {
	totals := &millracev1.ReplayTotals{}
	for replay := range 100 {
		for ordinal := range 50 {
			count(totals, &millracev1.Position{Replay: string(rune('A' + replay)), Ordinal: uint64(ordinal + 1)}, &millracev1.Counters{})
		}
	}
	if len(totals.Counted) != countedReplays {
		t.Errorf("%d replays", len(totals.Counted))
	}
	for _, r := range totals.Counted {
		if r.UpTo != 50 || len(r.Above) != 0 {
			t.Errorf("remembered %v", r)
		}
	}
}
