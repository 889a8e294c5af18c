package compare

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Report is the outcome of a comparison.
type Report struct {
	// Documents that both databases have, the leaves of them that both have, and
	// the attachments of those.
	Documents, Leaves, Attachments int
	// Differences, by document.
	Differences []Difference
}

// Difference is one thing that is not the same.
type Difference struct {
	ID   string // document
	Rev  string // leaf, if it is about one
	What string // "leaf", "history", "body.a[3]", "attachment x: digest", ...
	A, B string // what each database has, shortened
}

// shown is how many differences a report prints.
const shown = 20

// longest is how many bytes of a value are kept for a difference.
const longest = 200

// absent is what a database has that has nothing.
const absent = "absent"

// Same says that nothing differs.
func (r Report) Same() bool { return len(r.Differences) == 0 }

// String is a summary with the first differences.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d documents, %d leaves, %d attachments compared: %d differences",
		r.Documents, r.Leaves, r.Attachments, len(r.Differences))
	for i, d := range r.Differences {
		if i == shown {
			fmt.Fprintf(&b, "\n  and %d more", len(r.Differences)-shown)
			break
		}
		fmt.Fprintf(&b, "\n  %s", d)
	}
	return b.String()
}

// String is one line.
func (d Difference) String() string {
	return fmt.Sprintf("%q %s %s: %s | %s", d.ID, d.Rev, d.What, d.A, d.B)
}

// collector makes a report out of what several goroutines find.
type collector struct {
	mu     sync.Mutex
	report Report
}

func (c *collector) count(f func(*Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.report)
}

func (c *collector) differ(id, rev, what, a, b string) {
	c.count(func(r *Report) {
		r.Differences = append(r.Differences, Difference{ID: id, Rev: rev, What: what, A: shorten(a), B: shorten(b)})
	})
}

// finish puts the differences in an order that does not depend on the goroutines.
func (c *collector) finish() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortFunc(c.report.Differences, func(x, y Difference) int {
		return cmp.Or(strings.Compare(x.ID, y.ID), strings.Compare(x.Rev, y.Rev), strings.Compare(x.What, y.What))
	})
	return c.report
}

func shorten(text string) string {
	if len(text) <= longest {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:longest], ""), len(text))
}
