package verify

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// String is the report for people, several lines without the last line's end.
func (r *Report) String() string {
	var s strings.Builder
	r.A.write(&s, A, r.Filtered)
	r.B.write(&s, B, false)
	fmt.Fprintf(&s, "same: %d documents, %d leaves%s\n", r.MatchingDocuments, r.MatchingLeaves, r.compared())
	r.writeCounts(&s)
	for _, d := range r.Differences {
		fmt.Fprintf(&s, "  %s\n", d)
	}
	if more := r.DifferenceCount - int64(len(r.Differences)); more > 0 {
		fmt.Fprintf(&s, "  and %d more\n", more)
	}
	r.writeLeft(&s)
	switch {
	case r.Unsettled:
		s.WriteString("the databases are being written to: differences may be on their way\n")
	case r.Moved:
		s.WriteString("the databases were written to meanwhile\n")
	}
	s.WriteString(r.Verdict())
	return s.String()
}

// Verdict is the report in a few words.
func (r *Report) Verdict() string {
	switch {
	case r.Same && r.Filtered:
		return "the target holds what the filter chooses"
	case r.Same:
		return "the databases are the same"
	case r.Filtered:
		return fmt.Sprintf("the target does not hold what the filter chooses: %d differences", r.DifferenceCount)
	}
	return fmt.Sprintf("the databases differ: %d differences", r.DifferenceCount)
}

func (r *Report) compared() string {
	if r.Bodies {
		return " with bodies, histories and attachments"
	}
	return " (bodies were not compared)"
}

func (s SideReport) write(out *strings.Builder, name Side, chosen bool) {
	fmt.Fprintf(out, "%s: %s: %d documents, %d leaves", name, s.Database, s.Documents, s.Leaves)
	if chosen {
		out.WriteString(" chosen")
	}
	if s.MissingLeaves > 0 {
		fmt.Fprintf(out, "; lacks %d documents, %d leaves", s.MissingDocuments, s.MissingLeaves)
	}
	if s.UnchosenLeaves > 0 {
		fmt.Fprintf(out, "; has %d leaves that the filter refuses", s.UnchosenLeaves)
	}
	if s.ForeignLeaves > 0 {
		fmt.Fprintf(out, "; has %d leaves that are not of this source", s.ForeignLeaves)
	}
	if s.UnreadableLeaves > 0 {
		fmt.Fprintf(out, "; %d leaves cannot be opened", s.UnreadableLeaves)
	}
	out.WriteString("\n")
}

// writeLeft lists what is no difference, but worth knowing.
func (r *Report) writeLeft(out *strings.Builder) {
	if r.B.LeftLeaves == 0 {
		return
	}
	fmt.Fprintf(out, "left the filter, and stay as they were: %d documents, %d leaves\n", r.B.LeftDocuments, r.B.LeftLeaves)
	for _, d := range r.Left {
		fmt.Fprintf(out, "  %s\n", d)
	}
	if more := r.B.LeftLeaves - int64(len(r.Left)); more > 0 {
		fmt.Fprintf(out, "  and %d more\n", more)
	}
}

func (r *Report) writeCounts(out *strings.Builder) {
	var parts []string
	for _, c := range []struct {
		n    int64
		what string
	}{
		{r.WinnerDeletedDiffers, "documents deleted on one side"},
		{r.LeafDeletedDiffers, "leaves deleted on one side"},
		{r.BodyDiffers, "bodies"},
		{r.HistoryDiffers, "histories"},
		{r.AttachmentsDiffer, "leaves by their attachments"},
	} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(out, "differing: %s\n", strings.Join(parts, ", "))
	}
}

// shownRevs is how many of a document's leaves a line lists.
const shownRevs = 5

// String is one line.
func (d Difference) String() string {
	what := strings.ReplaceAll(string(d.Kind), "_", " ")
	if d.Side != "" {
		what += " at " + string(d.Side)
	}
	switch {
	case d.Kind == Attachment || strings.ContainsFunc(d.Where, unprintable):
		what += " " + strconv.Quote(d.Where) // nobody's line ends and colours but the report's own
	case d.Where != "":
		what += " " + d.Where
	}
	line := fmt.Sprintf("%q %s", d.ID, what)
	if n := len(d.Revs); n > shownRevs {
		line += fmt.Sprintf(" [%s and %d more]", strings.Join(d.Revs[:shownRevs], " "), n-shownRevs)
	} else if n > 0 {
		line += fmt.Sprintf(" [%s]", strings.Join(d.Revs, " "))
	}
	if d.A != "" || d.B != "" {
		line += fmt.Sprintf(": A %s, B %s", orNothing(d.A), orNothing(d.B))
	}
	return line
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}
