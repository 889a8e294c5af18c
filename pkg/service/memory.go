package service

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// defaultMemoryLimit is the soft limit of a program's memory, in bytes: the garbage
// collector works harder before the program grows beyond it. What is live in a pipeline
// is a fraction of it (invariant 5), unless there are thousands of jobs.
const defaultMemoryLimit = 220 << 20

// limitInterval is how often it is looked how much is live.
const limitInterval = time.Second

// LimitMemory sets the soft limit of the program's memory, unless GOMEMLIMIT does, and raises it with what
// is live: a limit just above that would keep the collector at work all the time. It returns when ctx
// ends.
func LimitMemory(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(limitInterval)
	defer ticker.Stop()
	for limit := int64(0); ; {
		metrics.Read(live)
		if want := limitFor(live[0].Value.Uint64()); want != limit {
			limit = want
			debug.SetMemoryLimit(limit)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// limitFor is the limit for a program with so much live heap.
func limitFor(live uint64) int64 { return max(defaultMemoryLimit, int64(live/2*3)+64<<20) }
