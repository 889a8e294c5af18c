// Package report prints what a benchmark measured, for people and for programs.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/sample"
)

// Report is everything that a run of the harness found out. It holds no
// credentials.
type Report struct {
	Time    time.Time         `json:"time"`
	Machine Machine           `json:"machine"`
	Source  Server            `json:"source"`
	Target  Server            `json:"target"`
	Setting map[string]string `json:"setting"` // flags by name
	Rows    []contest.Result  `json:"rows"`
}

// Machine is where the harness ran, and the servers too if they are local.
type Machine struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	Cores int    `json:"cores"`
	Go    string `json:"go"`
}

// Server is one of the two servers.
type Server struct {
	URL     string `json:"url"`
	Vendor  string `json:"vendor"`
	Version string `json:"version"`
}

// JSON writes the report as one indented JSON object.
func (r *Report) JSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(r)
}

// Text writes the report as tables.
func (r *Report) Text(w io.Writer) error {
	text := &strings.Builder{}
	fmt.Fprintf(text, "source %s (%s %s), target %s (%s %s)\n", r.Source.URL, r.Source.Vendor, r.Source.Version,
		r.Target.URL, r.Target.Vendor, r.Target.Version)
	fmt.Fprintf(text, "%s/%s, %d cores, %s, %s\n", r.Machine.OS, r.Machine.Arch, r.Machine.Cores, r.Machine.Go, r.Time.Format(time.RFC3339))
	for _, row := range r.Rows {
		text.WriteByte('\n')
		table(text, row)
		details(text, row)
		notes(text, row)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// table writes a row's contestants, one a line. The first column is given with
// its extremes and ratios, the others as medians.
func table(text *strings.Builder, row contest.Result) {
	fmt.Fprintf(text, "%s: %s; medians of %d runs\n", row.Row, row.Title, runs(row))
	tab := tabwriter.NewWriter(text, 0, 0, 2, ' ', tabwriter.AlignRight)
	shown := inTable(row.Columns)
	fmt.Fprintln(tab, strings.Join(headings(row, shown), "\t")+"\t")
	for _, s := range row.Standings {
		if len(s.Figures) > 0 {
			fmt.Fprintln(tab, strings.Join(cells(row, shown, s), "\t")+"\t")
		}
	}
	tab.Flush()
}

// headings names the columns of a table.
func headings(row contest.Result, shown []contest.Column) []string {
	first := shown[0]
	names := []string{"", heading(first), "min-max"}
	for _, baseline := range row.Baselines {
		names = append(names, "x "+baseline)
	}
	for _, c := range shown[1:] {
		names = append(names, heading(c))
	}
	return names
}

// cells returns one line of a table.
func cells(row contest.Result, shown []contest.Column, s contest.Standing) []string {
	first := s.Figures[shown[0].Name]
	line := []string{s.Name, figure(shown[0], first), spread(shown[0], first)}
	for _, baseline := range row.Baselines {
		line = append(line, ratio(s, baseline))
	}
	for _, c := range shown[1:] {
		line = append(line, figure(c, s.Figures[c.Name]))
	}
	return line
}

// details writes the quantities that are not in the table.
func details(text *strings.Builder, row contest.Result) {
	for _, s := range row.Standings {
		var parts []string
		for _, c := range row.Columns {
			if f := s.Figures[c.Name]; c.Detail && !f.Empty() {
				parts = append(parts, fmt.Sprintf("%s %s %s", c.Name, figure(c, f), c.Unit))
			}
		}
		if len(parts) > 0 {
			fmt.Fprintf(text, "  %s: %s\n", s.Name, strings.Join(parts, ", "))
		}
	}
}

// notes says who was absent or failed, and what each contestant is.
func notes(text *strings.Builder, row contest.Result) {
	for _, s := range row.Standings {
		if s.Absent != "" {
			fmt.Fprintf(text, "  %s is absent: %s\n", s.Name, s.Absent)
		}
		for _, err := range s.Errors {
			fmt.Fprintf(text, "  %s failed: %s\n", s.Name, err)
		}
	}
	for _, s := range row.Standings {
		fmt.Fprintf(text, "  %s = %s.\n", s.Name, s.Doc)
	}
}

// inTable returns the columns that are not details.
func inTable(columns []contest.Column) []contest.Column {
	var shown []contest.Column
	for _, c := range columns {
		if !c.Detail {
			shown = append(shown, c)
		}
	}
	return shown
}

// runs returns how often the row was measured, by whom it was most often.
func runs(row contest.Result) int {
	most := 0
	for _, s := range row.Standings {
		most = max(most, len(s.Figures[row.Columns[0].Name].Values))
	}
	return most
}

// heading is a column's name with its unit, unless that says the same.
func heading(c contest.Column) string {
	if c.Name == c.Unit {
		return c.Name
	}
	return c.Name + " " + c.Unit
}

// figure is the median, or a dash.
func figure(c contest.Column, s sample.Summary) string {
	if s.Empty() {
		return "-"
	}
	return fmt.Sprintf("%.*f", c.Decimals, s.Median)
}

// spread is the smallest and largest value, or a dash if there is one only.
func spread(c contest.Column, s sample.Summary) string {
	if len(s.Values) < 2 {
		return "-"
	}
	return fmt.Sprintf("%.*f-%.*f", c.Decimals, s.Min, c.Decimals, s.Max)
}

// ratio is the contestant's ratio to a baseline, or a dash.
func ratio(s contest.Standing, baseline string) string {
	r, ok := s.Ratios[baseline]
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2f", r)
}
