package random

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long anything may take. It says that something hangs, and nothing
// about speed.
const patience = 4 * time.Minute

// Settings of a run.
var (
	long time.Duration // for how long to go on with new seeds; 0 in CI
	seed uint64        // the only one to run; 0: new ones
)

func TestMain(m *testing.M) {
	flag.Parse()
	steps := "150"
	if text := os.Getenv("MILLRACE_TEST_LONG"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			long = 10 * time.Minute // it is only said to be long
		}
		steps = "2000"
	}
	// A seed is one run, which takes its time, and not a hundred.
	for name, value := range map[string]string{
		"rapid.checks": "1", "rapid.steps": steps, "rapid.shrinktime": "3m", "rapid.nofailfile": "true",
	} {
		if set := flag.Lookup(name); set != nil && set.Value.String() == set.DefValue {
			_ = set.Value.Set(value)
		}
	}
	seed, _ = strconv.ParseUint(flag.Lookup("rapid.seed").Value.String(), 10, 64) // rapid has parsed it
	goleak.VerifyTestMain(m)
}
