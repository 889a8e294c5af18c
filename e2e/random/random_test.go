package random

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
)

func TestTwoDatabasesThatReplicateIntoEachOtherAgree(t *testing.T) {
	seeds(t, func(t *testing.T) {
		a, b := newSide(t, "a", startPond(t)), newSide(t, "b", startPond(t))
		rapid.Check(t, func(rt *rapid.T) {
			run(t, rt, a, b, func() jobs { return startAlone(t, a, b) })
		})
	})
}

func TestServicesThatDieWhileTwoDatabasesReplicateIntoEachOther(t *testing.T) {
	if long == 0 && seed == 0 {
		t.Skip("takes longer than CI has: set MILLRACE_TEST_LONG")
	}
	seeds(t, func(t *testing.T) {
		a, b := newSide(t, "a", startPond(t)), newSide(t, "b", startPond(t))
		cluster := program.StartCluster(t, program.ClusterOptions{})
		rapid.Check(t, func(rt *rapid.T) {
			run(t, rt, a, b, func() jobs { return startTogether(t, cluster, a, b) })
		})
	})
}

func TestRealCouchDBsThatReplicateIntoEachOtherAgree(t *testing.T) {
	servers := realServers()
	if len(servers) < 2 {
		t.Skip("MILLRACE_TEST_COUCHDB names no two servers")
	}
	seeds(t, func(t *testing.T) {
		a, b := newSide(t, "a", servers[0]), newSide(t, "b", servers[1])
		rapid.Check(t, func(rt *rapid.T) {
			run(t, rt, a, b, func() jobs { return startAlone(t, a, b) })
		})
	})
}

// seeds runs the test with one seed after the other, as long as there is time.
func seeds(t *testing.T, test func(t *testing.T)) {
	given := flag.Lookup("rapid.seed").Value
	t.Cleanup(func() { _ = given.Set(strconv.FormatUint(seed, 10)) })
	began := time.Now()
	next := seed
	if next == 0 {
		next = uint64(began.UnixNano() % 1_000_000_000)
	}
	for {
		if err := given.Set(strconv.FormatUint(next, 10)); err != nil {
			t.Fatal(err)
		}
		if !t.Run(fmt.Sprintf("seed %d", next), test) || seed != 0 || time.Since(began) > long {
			return
		}
		next++
	}
}

var databases int

// pace is the time between two changes: they are to meet what replicates.
const pace = 20 * time.Millisecond

// run is one run of the test: random changes while both databases replicate into
// each other through faults, then quiet, then the judgement.
func run(test *testing.T, t *rapid.T, a, b *side, start func() jobs) {
	databases++
	for _, s := range []*side{a, b} {
		s.create(t, fmt.Sprintf("random_%d_%d", os.Getpid(), databases))
		defer s.ask(t, "DELETE", "", nil)
	}
	b.forbid(t)
	j := start()
	defer j.stop()
	e := newEditor(a, b)
	var faults []*chaosproxy.Active
	kills := 0
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	t.Repeat(map[string]func(*rapid.T){
		"":     func(*rapid.T) { <-ticker.C },
		"edit": e.edit, "edit again": e.edit, "edit once more": e.edit, "conflict": e.conflict, "delete": e.remove, "attach": e.attach,
		"rare": func(t *rapid.T) {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				e.purge(t)
			case 2:
				e.compact(t)
			case 3, 4, 5:
				faults = append(faults, fail(t, e.side(t)))
			case 6:
				if rapid.IntRange(0, 2).Draw(t, "kill") == 0 {
					kills++
					j.kill(t)
				}
			}
		},
	})
	hits := 0
	for _, f := range faults {
		f.Remove()
		hits += f.Hits()
	}
	t.Logf("%v; %d kills; %d faults met %d requests", e.count, kills, len(faults), hits)
	e.mend(t)
	judge(test, t, a, b, e, j)
}
