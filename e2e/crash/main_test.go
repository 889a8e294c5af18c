package crash

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// How often, and with which moments, things go wrong; flags override the
// environment.
var (
	runs int
	seed uint64
)

// patience is how long anything may take. It says that something hangs, and nothing
// about speed.
const patience = 4 * time.Minute

func TestMain(m *testing.M) {
	flag.IntVar(&runs, "runs", number("MILLRACE_CRASH_RUNS", 6), "how many times the kill tests kill")
	flag.Uint64Var(&seed, "seed", uint64(number("MILLRACE_CRASH_SEED", 0)), "first seed; 0 takes one from the clock")
	flag.Parse()
	seed = cmp.Or(seed, uint64(time.Now().UnixNano()%1_000_000))
	fmt.Printf("crash tests: -seed %d -runs %d\n", seed, runs)
	goleak.VerifyTestMain(m)
}

func number(variable string, fallback int) int {
	n, err := strconv.Atoi(os.Getenv(variable))
	if err != nil {
		return fallback
	}
	return n
}

// within is a context for one wait of a test.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// await waits until something has happened; what says what.
func await(t testing.TB, what string, came <-chan struct{}) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-came:
	case <-limit.C:
		t.Fatalf("in vain: %s", what)
	}
}

// eventually asks again and again until the answer is yes.
func eventually(t testing.TB, what string, ask func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !ask() {
		select {
		case <-ticker.C:
		case <-limit.C:
			t.Fatalf("in vain: %s", what)
		}
	}
}
