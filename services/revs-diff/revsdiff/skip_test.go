package revsdiff

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Unix(1_700_000_000, 0)

// after returns what was learned from answers of 100 revisions each.
func after(missing ...int) *skip {
	s := &skip{}
	for _, n := range missing {
		s.learn(epoch, 100, n)
	}
	return s
}

func repeated(n, times int) []int {
	all := make([]int, times)
	for i := range all {
		all[i] = n
	}
	return all
}

func TestAskingIsSkippedOnlyWhileNearlyEverythingIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		learned []int
		ask     bool
	}{
		"nothing is known yet":         {nil, true},
		"one answer is not enough":     {repeated(100, 1), true},
		"everything, again and again":  {repeated(100, 8), false},
		"nearly everything, for long":  {repeated(97, 20), false},
		"not quite as much":            {repeated(95, 20), true},
		"nothing":                      {repeated(0, 8), true},
		"everything, and then nothing": {append(repeated(100, 8), 0), true},
	} {
		if got := after(c.learned...).ask(epoch.Add(time.Second)); got != c.ask {
			t.Errorf("%s: asked: %t", name, got)
		}
	}
}

func TestAskingIsTriedAgainAfterAWhile(t *testing.T) {
	s := after(repeated(100, 8)...)
	if s.ask(epoch.Add(askAtLeast)) {
		t.Error("asked too early")
	}
	if !s.ask(epoch.Add(askAtLeast + time.Second)) {
		t.Error("not asked again")
	}
}

func TestEmptyAnswerTeachesNothing(t *testing.T) {
	s := after(repeated(100, 8)...)
	s.learn(epoch.Add(time.Hour), 0, 0)
	if s.asked != epoch || s.ratio < skipAbove {
		t.Errorf("learned %v", s)
	}
}
