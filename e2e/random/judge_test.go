package random

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"millrace/e2e/compare"
)

// judge waits until both databases agree, except for what b refuses, and looks at
// all that they hold then and after the refusal was mended.
func judge(t *rapid.T, a, b *side, e *editor, j jobs) {
	refused := map[leaf]bool{}
	for id := range e.kept {
		for _, doc := range a.open(t, id) {
			if doc.Refuse && !doc.Deleted {
				refused[leaf{id, doc.Rev}] = true
			}
		}
	}
	agree(t, a, b, refused)
	report, err := compare.Databases(t.Context(), a.direct(), b.direct(), compare.Options{})
	if err != nil {
		t.Fatalf("compare: %v", err)
	}
	ids := map[string]bool{}
	for l := range refused {
		ids[l.ID] = true
	}
	for _, difference := range report.Differences {
		if !ids[difference.ID] {
			t.Errorf("%v", difference)
		}
	}
	if len(refused) == 0 || t.Failed() {
		return
	}
	b.allow(t)
	mendRefused(t, a, e, refused)
	agree(t, a, b, nil)
	report, err = compare.Databases(t.Context(), a.direct(), b.direct(), compare.Options{})
	if err != nil {
		t.Fatalf("compare: %v", err)
	}
	if !report.Same() {
		t.Errorf("after the mend: %v", report)
	}
}

// agree waits until the databases have the same leaves but for these, which a alone
// has.
func agree(t *rapid.T, a, b *side, onlyA map[leaf]bool) {
	var missing, tooMany, back []string
	b.becomes(t, func() string {
		return fmt.Sprintf("agree: b lacks %s, should not have %s, a lacks %s", some(missing), some(tooMany), some(back))
	}, func() bool {
		leavesA, leavesB := a.leaves(t), b.leaves(t)
		missing, tooMany, back = nil, nil, nil
		for l := range leavesA {
			switch {
			case onlyA[l] && leavesB[l]:
				tooMany = append(tooMany, l.String())
			case !onlyA[l] && !leavesB[l]:
				missing = append(missing, l.String())
			}
		}
		for l := range leavesB {
			if !leavesA[l] {
				back = append(back, l.String())
			}
		}
		return len(missing)+len(tooMany)+len(back) == 0
	})
}

func some(list []string) string {
	slices.Sort(list)
	shown := strings.Join(list[:min(len(list), 8)], ", ")
	return fmt.Sprintf("%d (%s)", len(list), shown)
}

// mendRefused edits the documents that b refused, so that they are offered again.
func mendRefused(t *rapid.T, a *side, e *editor, refused map[leaf]bool) {
	for l := range refused {
		e.gone[l.ID] = true
	}
	e.mend(t)
}
