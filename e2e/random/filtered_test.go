package random

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/compare"
	"millrace/e2e/program"
)

// wishes is how many targets there are.
const wishes = 5

// someFaults are as many as a short run meets: each may cost seconds, which are the run's.
const someFaults = 25

func TestTargetsHoldWhatTheirFiltersChooseWhileDocumentsChangeHands(t *testing.T) {
	seeds(t, func(t *testing.T) { chosen(t, startPond(t), startPond(t)) })
}

func TestTargetsOfARealCouchDBHoldWhatTheirFiltersChoose(t *testing.T) {
	servers := realServers()
	if len(servers) == 0 {
		t.Skip("MILLRACE_TEST_COUCHDB names no server")
	}
	seeds(t, func(t *testing.T) { chosen(t, servers[0], servers[len(servers)-1]) })
}

// chosen runs the test between two servers: one database on the first, several on the other.
func chosen(t *testing.T, from, to string) {
	source := newSide(t, "source", from)
	targets := make([]*target, wishes)
	for i := range targets {
		targets[i] = &target{side: newSide(t, fmt.Sprintf("target%d", i), to)}
	}
	rapid.Check(t, func(rt *rapid.T) { runFiltered(t, rt, source, targets) })
}

// target is a database with what it is to have.
type target struct {
	*side
	wish
	// ever are the leaves that it has been right to have, at some time.
	ever map[leaf]bool
}

// runFiltered is one run: random changes at the source while it is replicated to all targets through faults
// and kills, then quiet, then the judgement.
func runFiltered(test *testing.T, t *rapid.T, source *side, targets []*target) {
	databases++
	name := fmt.Sprintf("random_%d_%d", os.Getpid(), databases)
	source.create(t, name)
	defer source.ask(t, "DELETE", "", nil)
	source.learn(t)
	var entries []string
	for i, one := range targets {
		one.wish, one.ever = wishFor(t), map[leaf]bool{}
		one.create(t, fmt.Sprintf("%s_%d", name, i))
		defer one.ask(t, "DELETE", "", nil)
		entries = append(entries, "{"+strings.TrimSuffix(fmt.Sprintf(`"target":%q,%s`, one.via(), one.fields), ",")+"}")
		t.Logf("target %d: %s", i, one.fields)
	}
	file := filepath.Join(test.TempDir(), "replication.json")
	document := fmt.Sprintf(`{"source":%q,"continuous":true,"targets":[%s]}`, source.via(), strings.Join(entries, ","))
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	args := append([]string{"--document", file, "--data", test.TempDir()}, tuning()...)
	r := program.Replicate(test, args...)
	defer func() { r.Interrupt() }()
	r.Until(func(program.Event) bool { return true })

	e := newEditor(source)
	e.mark = ownedBy
	var faults []*chaosproxy.Active
	kills := 0
	observe(t, source, targets, "_design/f")
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	t.Repeat(map[string]func(*rapid.T){
		"": func(t *rapid.T) {
			<-ticker.C
			if e.last != "" {
				observe(t, source, targets, e.last)
			}
		},
		"edit": e.edit, "edit again": e.edit, "edit once more": e.edit, "conflict": e.conflict, "delete": e.remove, "attach": e.attach,
		"rare": func(t *rapid.T) {
			what := rapid.IntRange(0, 6).Draw(t, "what")
			if long == 0 && len(faults) >= someFaults {
				what = max(what, 5)
			}
			switch what {
			case 0, 1:
				faults = append(faults, fail(t, source))
			case 2, 3, 4:
				faults = append(faults, fail(t, rapid.SampledFrom(targets).Draw(t, "at").side))
			case 5:
				e.compact(t)
			case 6:
				if rapid.IntRange(0, 2).Draw(t, "kill") == 0 {
					kills++
					r.Kill()
					r = program.Replicate(test, args...)
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
	for _, one := range targets {
		one.judge(t, source)
	}
}

// observe takes note of a document's leaves: nobody but the test writes at the source, so that none is missed.
func observe(t *rapid.T, source *side, targets []*target, id string) {
	for _, doc := range source.open(t, id) {
		for _, one := range targets {
			if one.wants(id, doc) {
				one.ever[leaf{id, doc.Rev}] = true
			}
		}
	}
}

// judge waits until the target has every leaf of the source that it wants, and looks at what it holds: no
// leaf that it never wanted, and each as the source has it. What has left its filter it may have, and
// what it had before.
func (one *target) judge(t *rapid.T, source *side) {
	leaves := source.leaves(t)
	var missing []string
	one.becomes(t, func() string { return fmt.Sprintf("have %s: it lacks %s", one.fields, some(missing)) }, func() bool {
		has := one.leaves(t)
		missing = nil
		for l := range leaves {
			if one.ever[l] && !has[l] {
				missing = append(missing, l.String())
			}
		}
		return len(missing) == 0
	})
	for l := range one.leaves(t) {
		if !one.ever[l] {
			t.Errorf("%s: %s was never chosen, and is there", one.fields, l)
		}
	}
	report, err := compare.Databases(t.Context(), source.direct(), one.direct(), compare.Options{})
	if err != nil {
		t.Fatalf("compare: %v", err)
	}
	for _, d := range report.Differences {
		switch d.What {
		case "document", "leaf", "deleted in _changes": // which leaves there are is looked at above
		default:
			t.Errorf("%s: %v", one.fields, d)
		}
	}
}
