package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDealerTakesSubjectsInTurn(t *testing.T) {
	d := newDealer[int](dealerRules{inFlight: 9, perSubject: 9, share: 9, capacity: 90})
	for i := range 3 {
		mustTake(t, d, "a", i)
	}
	mustTake(t, d, "b", 10)
	mustTake(t, d, "c", 20)
	var got []int
	for {
		_, item, ok := d.next()
		if !ok {
			break
		}
		got = append(got, item)
	}
	require.Equal(t, []int{0, 10, 20, 1, 2}, got)
}

func TestDealerHoldsBackASubjectThatIsBusy(t *testing.T) {
	d := newDealer[int](dealerRules{inFlight: 9, perSubject: 1, share: 9, capacity: 90})
	d.offer("a", 1)
	d.offer("a", 2)
	subject, item, ok := d.next()
	require.True(t, ok)
	require.Equal(t, 1, item)
	_, _, ok = d.next()
	require.False(t, ok)
	d.done(subject)
	_, item, ok = d.next()
	require.True(t, ok)
	require.Equal(t, 2, item)
}

// Handlers that wait, for room further on or for a target that does not answer, keep their places.
func TestDealerLeavesPlacesToOthersWhenManyStandStill(t *testing.T) {
	for _, c := range []struct {
		standing int
		left     int // places of a job that comes behind them
	}{{7, 4}, {8, 3}, {12, 3}, {40, 2}, {60, 1}, {150, 1}, {178, 1}, {180, 0}} {
		d := newDealer[int](dealerRules{inFlight: 32, crowd: 256, perSubject: 4, share: 8, capacity: 4000})
		deal := func() (n int) {
			for _, _, ok := d.next(); ok; _, _, ok = d.next() {
				n++
			}
			return n
		}
		for subject := range c.standing {
			for i := range 8 {
				mustTake(t, d, fmt.Sprint(subject), i)
			}
			deal() // those that come first take all they may
		}
		for i := range 8 {
			mustTake(t, d, "late", i)
		}
		require.Equal(t, c.left, deal(), "behind %d that stand still", c.standing)
		if c.left > 0 {
			d.done("late")
			require.Equal(t, 1, deal(), "it goes on")
		}
	}
}

// A job may say how many of its batches are worked on at once, and change it meanwhile.
func TestDealerKeepsToASubjectsOwnBound(t *testing.T) {
	bound := map[string]int{"one": 1, "three": 3}
	d := newDealer[int](dealerRules{
		inFlight: 9, perSubject: 2, share: 9, capacity: 90, bound: func(subject string) int { return bound[subject] },
	})
	deal := func() map[string]int {
		dealt := map[string]int{}
		for subject, _, ok := d.next(); ok; subject, _, ok = d.next() {
			dealt[subject]++
		}
		return dealt
	}
	for i := range 6 {
		for _, subject := range []string{"one", "three", "silent"} {
			mustTake(t, d, subject, i)
		}
	}
	require.Equal(t, map[string]int{"one": 1, "three": 3, "silent": 2}, deal())
	bound["one"] = 2
	d.done("one")
	require.Equal(t, map[string]int{"one": 2}, deal())
	bound["one"] = 1
	d.done("one")
	require.Empty(t, deal(), "one is still being handled")
	d.done("one")
	require.Equal(t, map[string]int{"one": 1}, deal())
}

func TestDealerRefusesWhatIsOverASubjectsShare(t *testing.T) {
	d := newDealer[int](dealerRules{inFlight: 1, perSubject: 1, share: 2, capacity: 90})
	mustTake(t, d, "a", 1)
	mustTake(t, d, "a", 2)
	back, refused := d.offer("a", 3)
	require.True(t, refused)
	require.Equal(t, 3, back)
	mustTake(t, d, "b", 4)
}

func TestDealerLeavesRoomForOthersWhenManyAreSlow(t *testing.T) {
	d := newDealer[int](dealerRules{inFlight: 1, perSubject: 1, share: 16, capacity: 256})
	for subject := range 100 {
		for i := range 16 {
			d.offer(fmt.Sprint(subject), i)
		}
	}
	require.LessOrEqual(t, d.held, 192)
	require.Len(t, d.queues, 100, "nobody is left out")
	_, _ = d.offer("fast", 4711)
	require.Equal(t, []int{4711}, d.queues["fast"].items)
	require.LessOrEqual(t, d.held, 192, "somebody else made place")
}

func TestDealerTakesFromTheEndOfTheLongestQueue(t *testing.T) {
	d := newDealer[int](dealerRules{inFlight: 1, perSubject: 1, share: 16, capacity: 8})
	for i := range 5 {
		mustTake(t, d, "long", i)
	}
	mustTake(t, d, "short", 10)
	back, refused := d.offer("new", 20)
	require.True(t, refused)
	require.Equal(t, 4, back)
	back, refused = d.offer("long", 30)
	require.True(t, refused)
	require.Equal(t, 30, back, "the longest gets no more")
}

func mustTake(t *testing.T, d *dealer[int], subject string, item int) {
	t.Helper()
	_, refused := d.offer(subject, item)
	require.False(t, refused)
}

// The laws of dealing: nothing is lost or dealt twice, a subject's items come in
// order, and no bound is ever exceeded.
func TestDealerLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := dealerRules{
			inFlight:   rapid.IntRange(1, 6).Draw(t, "inFlight"),
			crowd:      rapid.IntRange(0, 12).Draw(t, "crowd"),
			perSubject: rapid.IntRange(1, 4).Draw(t, "perSubject"),
			share:      rapid.IntRange(1, 5).Draw(t, "share"),
			capacity:   rapid.IntRange(6, 30).Draw(t, "capacity"),
		}
		own := rapid.MapOf(rapid.SampledFrom([]string{"a", "b"}), rapid.IntRange(1, 6)).Draw(t, "own bounds")
		rules.bound = func(subject string) int { return own[subject] }
		d := newDealer[int](rules)
		taken, dealt := map[string][]int{}, map[string][]int{}
		busy := map[string]int{}
		total, number := 0, 0
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				subject := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "subject")
				number++
				taken[subject] = append(taken[subject], number)
				if back, refused := d.offer(subject, number); refused {
					for s := range taken {
						taken[s] = slices.DeleteFunc(taken[s], func(n int) bool { return n == back })
					}
				}
			case 1:
				subject, item, ok := d.next()
				if !ok {
					if total >= rules.crowd {
						continue
					}
					for subject, q := range d.queues {
						if len(q.items) > 0 && q.busy == 0 {
							t.Fatalf("%s waits while %d of %d are in flight", subject, total, rules.crowd)
						}
					}
					continue
				}
				dealt[subject] = append(dealt[subject], item)
				busy[subject]++
				total++
			case 2:
				for subject, n := range busy {
					if n > 0 {
						d.done(subject)
						busy[subject]--
						total--
						break
					}
				}
			}
			if total > max(rules.inFlight, rules.crowd) || d.busy != total || d.held > rules.capacity {
				t.Fatalf("%d in flight of %d, %d held of %d", total, max(rules.inFlight, rules.crowd), d.held, rules.capacity)
			}
			for subject, n := range busy {
				if most := rules.most(subject); n > most {
					t.Fatalf("%s: %d in flight of %d", subject, n, most)
				}
			}
		}
		for d.busy > 0 || d.held > 0 { // finish everything
			subject, item, ok := d.next()
			if ok {
				dealt[subject] = append(dealt[subject], item)
				d.done(subject)
				continue
			}
			for subject, n := range busy {
				if n > 0 {
					d.done(subject)
					busy[subject]--
					break
				}
			}
		}
		for subject := range taken {
			if !slices.Equal(taken[subject], dealt[subject]) { // in order, once
				t.Fatalf("%s: took %v, dealt %v", subject, taken[subject], dealt[subject])
			}
		}
		if len(d.queues) != 0 || len(d.ready) != 0 {
			t.Fatalf("an empty dealer remembers %d subjects", len(d.queues))
		}
	})
}

func TestDealerGivesBackWhatIsQueuedAndNotWhatIsHandled(t *testing.T) {
	d := newDealer[int](dealerRules{inFlight: 1, perSubject: 1, share: 9, capacity: 9})
	d.offer("a", 1)
	d.offer("a", 2)
	d.offer("b", 3)
	subject, _, _ := d.next()
	left := d.empty()
	slices.Sort(left)
	require.Equal(t, []int{2, 3}, left)
	d.done(subject)
	require.Zero(t, d.held)
	require.Empty(t, d.queues)
}
