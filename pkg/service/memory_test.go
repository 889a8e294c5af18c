package service

import (
	"context"
	"runtime/debug"
	"testing"
)

// A program with thousands of jobs has more that is live than the usual limit leaves room for.
func TestMemoryLimitGrowsWithWhatIsLive(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	LimitMemory(ctx) // looks once
	if got := debug.SetMemoryLimit(-1); got != defaultMemoryLimit {
		t.Errorf("little is live: the limit is %d", got)
	}
	for _, c := range []struct {
		live uint64
		want int64
	}{
		{0, defaultMemoryLimit},
		{50 << 20, defaultMemoryLimit},
		{200 << 20, 364 << 20},
		{1 << 30, 1600 << 20},
	} {
		if got := limitFor(c.live); got != c.want {
			t.Errorf("with %d live the limit is %d, want %d", c.live, got, c.want)
		}
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	debug.SetMemoryLimit(7 << 20)
	LimitMemory(ctx)
	if got := debug.SetMemoryLimit(-1); got != 7<<20 {
		t.Errorf("an operator's limit was replaced by %d", got)
	}
}
