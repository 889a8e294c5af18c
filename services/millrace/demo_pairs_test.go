package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func seenAt(of side, id string, ms int) sighting {
	return sighting{side: of, id: id, rev: "1-a", at: time.UnixMilli(int64(ms))}
}

func TestPairsMeasureFromTheSourceToTheTarget(t *testing.T) {
	for name, c := range map[string]struct {
		first, second sighting
		want          time.Duration
	}{
		"in order":                       {seenAt(atSource, "x", 100), seenAt(atTarget, "x", 107), 7 * time.Millisecond},
		"told in the other order":        {seenAt(atTarget, "x", 107), seenAt(atSource, "x", 100), 7 * time.Millisecond},
		"seen at the target first":       {seenAt(atTarget, "x", 100), seenAt(atSource, "x", 107), 0},
		"seen at both at the same time":  {seenAt(atSource, "x", 100), seenAt(atTarget, "x", 100), 0},
		"after more than a few messages": {seenAt(atSource, "x", 0), seenAt(atTarget, "x", 60_000), time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPairs(10)
			_, both := p.add(c.first)
			require.False(t, both)
			latency, both := p.add(c.second)
			require.True(t, both)
			require.Equal(t, c.want, latency)
			require.Empty(t, p.alone)
		})
	}
}

func TestPairsTellRevisionsApart(t *testing.T) {
	p := newPairs(10)
	p.add(sighting{side: atSource, id: "x", rev: "1-a"})
	_, both := p.add(sighting{side: atTarget, id: "x", rev: "2-b"})
	require.False(t, both)
}

func TestPairsAreForgottenOldestFirst(t *testing.T) {
	p := newPairs(2)
	for i, id := range []string{"a", "b", "c"} {
		p.add(seenAt(atSource, id, i))
	}
	_, both := p.add(seenAt(atTarget, "c", 9))
	require.True(t, both)
	_, both = p.add(seenAt(atTarget, "a", 9))
	require.False(t, both)
}

func TestPairsHoldNoMoreThanTheirLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		p := newPairs(limit)
		for i := range rapid.IntRange(0, 200).Draw(t, "changes") {
			of := side(rapid.IntRange(0, 1).Draw(t, "side"))
			p.add(seenAt(of, fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "id")), i))
			if len(p.alone) > limit || len(p.order) > limit+1 {
				t.Fatalf("%d alone and %d in order, with a limit of %d", len(p.alone), len(p.order), limit)
			}
		}
	})
}

func TestArrivalsGetALineEachWhileTheyAreFew(t *testing.T) {
	for name, c := range map[string]struct {
		changes int
		want    string
		lines   int
	}{
		"one":       {1, "replicated id0 1-a: at the target 5ms after", 1},
		"a few":     {fewArrivals, "replicated id4 1-a: at the target 5ms after", fewArrivals},
		"too many":  {fewArrivals + 1, "replicated 6 changes: median latency 5ms, longest 5ms", 1},
		"very many": {1000, "replicated 1000 changes: median", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			a := newArrivals(&out)
			for i := range c.changes {
				a.take(seenAt(atSource, fmt.Sprintf("id%d", i), 0))
			}
			for i := range c.changes {
				s := seenAt(atTarget, fmt.Sprintf("id%d", i), 5)
				s.more = i < c.changes-1
				a.take(s)
			}
			require.Contains(t, out.String(), c.want)
			require.Equal(t, c.lines, strings.Count(out.String(), "\n"))
		})
	}
}
