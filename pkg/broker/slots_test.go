package broker

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// inLine takes n places in a line, oldest first, without waiting for any turn.
func inLine(s *slots, limit, n int) (turns []*turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		turns = append(turns, s.line("subject", limit).join())
	}
	return turns
}

// mayGo says which of the turns have come.
func mayGo(turns []*turn) (indexes []int) {
	for i, t := range turns {
		if t.on {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

func TestAsManyAreOnTheirWayAsTheSubjectCanHold(t *testing.T) {
	s := &slots{}
	turns := inLine(s, 2, 4)
	require.Equal(t, []int{0, 1}, mayGo(turns))
	turns[1].leave(true)
	require.Equal(t, []int{0, 1, 2}, mayGo(turns), "the next in line")
	for _, i := range []int{0, 2, 3} {
		turns[i].leave(true)
	}
	require.Empty(t, s.subjects, "nothing is kept of a subject that nobody sends to")
}

func TestRefusedMessageIsNotOvertakenByLaterOnes(t *testing.T) {
	s := &slots{}
	turns := inLine(s, 4, 6)
	require.True(t, turns[0].refuse(), "the oldest tries again")
	for _, refused := range turns[1:4] {
		require.False(t, refused.refuse(), "the others wait for it")
	}
	require.Equal(t, []int{0}, mayGo(turns))
	require.True(t, turns[0].refuse())
	turns[0].leave(true)
	require.Equal(t, []int{0, 1, 2}, mayGo(turns), "there was room for one: there may be for two")
	require.True(t, turns[1].refuse())
	turns[2].leave(true) // it was on its way already
	require.Equal(t, []int{0, 1, 2}, mayGo(turns), "nobody follows it while an older one stands refused")
	turns[1].leave(true)
	require.Equal(t, []int{0, 1, 2, 3, 4}, mayGo(turns))
}

func TestWhoeverGivesUpLetsTheNextGo(t *testing.T) {
	s := &slots{}
	turns := inLine(s, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.acquire(ctx, "subject", 1)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, turns[0].refuse())
	more := inLine(s, 1, 1)
	turns[0].leave(false)
	require.NoError(t, more[0].wait(t.Context()))
	more[0].leave(true)
	require.Empty(t, s.subjects)
}

func TestSubjectWithoutALimitHasNoLine(t *testing.T) {
	s := &slots{}
	turn, err := s.acquire(t.Context(), "subject", 0)
	require.NoError(t, err)
	require.True(t, turn.refuse())
	turn.leave(true)
	require.Empty(t, s.subjects)
}

// A subject that holds limit messages, a consumer that takes them at random moments, and
// messages of which any that may be sent is sent at any moment.
func TestOldestRefusedMessageIsTheNextThatGetsIn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &slots{}
		limit := rapid.IntRange(1, 5).Draw(rt, "limit")
		waiting := inLine(s, limit, rapid.IntRange(1, 30).Draw(rt, "messages"))
		held := limit // in the subject, full
		overtaken := map[*turn]int{}
		for len(waiting) > 0 {
			if held > 0 && rapid.Bool().Draw(rt, "a message is taken out") {
				held--
			}
			var able []*turn
			for _, t := range waiting {
				if t.on {
					able = append(able, t)
				}
			}
			if len(able) == 0 || len(able) > limit {
				rt.Fatalf("%d messages may be sent", len(able))
			}
			sent := rapid.SampledFrom(able).Draw(rt, "sent")
			if held == limit {
				if sent.refuse() {
					overtaken[sent] += 0 // from now on those that get in before it are counted
				}
				continue
			}
			held++
			for _, older := range waiting[:slices.Index(waiting, sent)] {
				if _, counts := overtaken[older]; counts {
					overtaken[older]++
				}
				if overtaken[older] >= limit {
					rt.Fatalf("the oldest message stood refused while %d others got in", overtaken[older])
				}
			}
			sent.leave(true)
			waiting = slices.DeleteFunc(waiting, func(t *turn) bool { return t == sent })
		}
		require.Empty(rt, s.subjects)
	})
}
