package random

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/e2e/compare"
	"millrace/e2e/program"
)

// judge waits until both databases agree, except for what b refuses, and looks at
// all that they hold then and after the refusal was mended.
func judge(test *testing.T, t *rapid.T, a, b *side, e *editor, j jobs) {
	refused := e.refused(t, a)
	agree(t, a, b, refused)
	report, err := compare.Databases(t.Context(), a.direct(), b.direct(), compare.Options{})
	if err != nil {
		t.Fatalf("compare: %v", err)
	}
	ids := map[string]bool{}
	for l := range refused.leaves {
		ids[l.ID] = true
	}
	for _, difference := range report.Differences {
		if !ids[difference.ID] {
			t.Errorf("%v", difference)
		}
	}
	listed(t, a, b, refused, j)
	same := program.ExitOK
	if len(refused.leaves) > 0 {
		same = program.ExitDifferent
	}
	verify(test, t, a, b, same)
	if len(refused.leaves) == 0 || t.Failed() {
		return
	}
	b.allow(t)
	j.failures(t, 0, "replay", "--all")
	agree(t, a, b, refusals{})
	report, err = compare.Databases(t.Context(), a.direct(), b.direct(), compare.Options{})
	if err != nil {
		t.Fatalf("compare: %v", err)
	}
	if !report.Same() {
		t.Errorf("after the replay: %v", report)
	}
	verify(test, t, a, b, program.ExitOK)
}

// verify asks the product's own judge.
func verify(test *testing.T, t *rapid.T, a, b *side, want int) {
	p := program.Start(test, program.Millrace, []string{"verify", "--bodies", a.direct(), b.direct()})
	if code := p.Wait(); code != want {
		t.Errorf("millrace verify ended with %d instead of %d:\n%s%s", code, want, p.Stdout, p.Stderr)
	}
}

// listed waits until every refusal is among the failures of the replication to b. Of
// what else is listed no leaf may be left: it was refused or gone, and has another
// revision in its place now.
func listed(t *rapid.T, a, b *side, refused refusals, j jobs) {
	var unlisted []string
	var all []failure
	b.becomes(t, func() string { return "list what it refused: " + some(unlisted) }, func() bool {
		all = j.failures(t, 0)
		of := map[leaf]failure{}
		for _, f := range all {
			of[leaf{f.ID, f.Rev}] = f
		}
		unlisted = nil
		for l := range refused.leaves {
			if f := of[l]; f.Status != http.StatusForbidden || f.Reason != "refuse is set" {
				unlisted = append(unlisted, l.String())
			}
		}
		return len(unlisted) == 0
	})
	leaves := a.leaves(t)
	for _, f := range all {
		if l := (leaf{f.ID, f.Rev}); leaves[l] && !refused.leaves[l] {
			t.Errorf("b has, and is said to lack: %+v", f)
		}
	}
	leaves = b.leaves(t)
	for _, f := range j.failures(t, 1) {
		if leaves[leaf{f.ID, f.Rev}] {
			t.Errorf("a has, and is said to lack: %+v", f)
		}
	}
}

// refusals are the leaves of a that b refuses, and their ancestors, which are leaves
// of b still, if b has them.
type refusals struct {
	leaves, ancestors map[leaf]bool
}

func (e *editor) refused(t *rapid.T, a *side) refusals {
	r := refusals{map[leaf]bool{}, map[leaf]bool{}}
	for id := range e.kept {
		for _, doc := range a.open(t, id) {
			if !doc.Refuse || doc.Deleted {
				continue
			}
			r.leaves[leaf{id, doc.Rev}] = true
			for i, hash := range doc.Revisions.IDs[1:] {
				r.ancestors[leaf{id, fmt.Sprintf("%d-%s", doc.Revisions.Start-1-i, hash)}] = true
			}
		}
	}
	return r
}

// agree waits until the databases have the same leaves but for what b refuses.
func agree(t *rapid.T, a, b *side, onlyA refusals) {
	var missing, tooMany, back []string
	b.becomes(t, func() string {
		return fmt.Sprintf("agree: b lacks %s, should not have %s, a lacks %s%s", some(missing), some(tooMany), some(back),
			trees(t, slices.Concat(missing, tooMany, back), a, b))
	}, func() bool {
		leavesA, leavesB := a.leaves(t), b.leaves(t)
		missing, tooMany, back = nil, nil, nil
		for l := range leavesA {
			switch {
			case onlyA.leaves[l] && leavesB[l]:
				tooMany = append(tooMany, l.String())
			case !onlyA.leaves[l] && !leavesB[l]:
				missing = append(missing, l.String())
			}
		}
		for l := range leavesB {
			if !leavesA[l] && !onlyA.ancestors[l] {
				back = append(back, l.String())
			}
		}
		return len(missing)+len(tooMany)+len(back) == 0
	})
}

// trees shows the documents of a few leaves as both sides have them.
func trees(t *rapid.T, leaves []string, sides ...*side) string {
	var text strings.Builder
	for _, l := range leaves[:min(len(leaves), 3)] {
		id := l[:strings.LastIndexByte(l, ' ')]
		for _, s := range sides {
			for _, doc := range s.open(t, id) {
				fmt.Fprintf(&text, "\n  %s on %s: %v deleted %t refuse %t", id, s.name, doc.Revisions, doc.Deleted, doc.Refuse)
			}
		}
	}
	return text.String()
}

func some(list []string) string {
	slices.Sort(list)
	shown := strings.Join(list[:min(len(list), 8)], ", ")
	return fmt.Sprintf("%d (%s)", len(list), shown)
}
