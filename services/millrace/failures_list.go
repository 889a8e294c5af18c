package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"millrace/pkg/failures"
	"millrace/services/millrace/node"
)

// listJobs lists the jobs that have rejected documents.
func (f *failuresFlags) listJobs(cmd *cobra.Command) error {
	places, err := f.places()
	if err != nil {
		return err
	}
	var all []*recordedJob
	for _, p := range places {
		err := f.visit(cmd, p, func(n *node.Node, s *failures.Store) error {
			jobs, err := jobsAt(cmd.Context(), n, s)
			for _, j := range jobs {
				if j.Failures > 0 {
					all = append(all, j)
				}
			}
			return failedOrInterrupted(cmd.Context(), err)
		})
		if err != nil {
			return err
		}
	}
	out := cmd.OutOrStdout()
	if f.json {
		return printLines(out, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(out, "no job has rejected documents")
		return nil
	}
	table := newTable(out)
	table.row("JOB", "STATE", "FAILURES", "SOURCE", "TARGET")
	for _, j := range all {
		name, state := j.ReplicationID, j.State
		if name == "" {
			name, state = j.ID, "removed"
		}
		table.row(name, state, fmt.Sprint(j.Failures), j.Source, j.Target)
	}
	return table.flush()
}

func printLines[T any](out io.Writer, all []T) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, v := range all {
		if err := encoder.Encode(v); err != nil {
			return failedError(err)
		}
	}
	return nil
}

// recordLine is a record as the commands print it in JSON.
type recordLine struct {
	Job           string `json:"job"`
	ReplicationID string `json:"replication_id,omitempty"`
	ID            string `json:"id"`
	Rev           string `json:"rev"`
	Status        int32  `json:"status,omitempty"`
	Error         string `json:"error"`
	Reason        string `json:"reason"`
	Stage         string `json:"stage"`
	Attempts      uint32 `json:"attempts"`
	Time          string `json:"time"`
	FirstTime     string `json:"first_time"`
	TraceID       string `json:"trace_id,omitempty"`
	// Size of the document in bytes; 0 when the source did not give it.
	Size uint64 `json:"size"`
	// Source is where the document is.
	Source sourceRef `json:"source"`
	// Doc is the document, where it is kept and asked for.
	Doc json.RawMessage `json:"doc,omitempty"`
	// DocBase64 stands in its place where it is no UTF-8, which JSON must be.
	DocBase64 string `json:"doc_base64,omitempty"`
}

type sourceRef struct {
	Endpoint string `json:"endpoint"`
	URL      string `json:"url,omitempty"`
	ID       string `json:"id"`
	Rev      string `json:"rev"`
}

func (v *visited) line(r *failures.Record) recordLine {
	return recordLine{
		Job: v.ID, ReplicationID: v.ReplicationID, ID: r.Id, Rev: r.Rev, Status: r.Status, Error: r.Error, Reason: r.Reason,
		Stage: r.Stage, Attempts: r.Attempts, Time: timestamp(r.Time), FirstTime: timestamp(r.FirstTime), TraceID: r.TraceId,
		Size: r.Size, Source: sourceRef{Endpoint: r.SourceEndpoint, URL: v.Source, ID: r.Id, Rev: r.Rev},
	}
}

func timestamp(nanoseconds int64) string {
	return time.Unix(0, nanoseconds).UTC().Format("2006-01-02T15:04:05.000Z")
}

// with adds the document, if it is kept.
func (l recordLine) with(doc []byte) recordLine {
	switch {
	case len(doc) == 0:
	case utf8.Valid(doc) && json.Valid(doc):
		l.Doc = doc
	default:
		l.DocBase64 = base64.StdEncoding.EncodeToString(doc)
	}
	return l
}

// list lists the records of a job.
func (f *failuresFlags) list(cmd *cobra.Command, v *visited) error {
	out := cmd.OutOrStdout()
	if f.json {
		return f.each(cmd, v, func(r *failures.Record) error { return printLines(out, []recordLine{v.line(r)}) })
	}
	table := newTable(out)
	table.row("DOCUMENT", "REVISION", "STATUS", "ATTEMPTS", "LAST", "REASON")
	n := 0
	err := f.each(cmd, v, func(r *failures.Record) error {
		n++
		table.row(r.Id, r.Rev, status(r.Status), fmt.Sprint(r.Attempts), timestamp(r.Time), r.Error+": "+r.Reason)
		return nil
	})
	if err != nil {
		return err
	}
	if n == 0 {
		_, err := fmt.Fprintln(out, "no rejected documents")
		return err
	}
	if err := table.flush(); err != nil {
		return failedError(err)
	}
	return f.sayFull(cmd, v)
}

func status(code int32) string {
	if code == 0 {
		return "-"
	}
	return fmt.Sprint(code)
}

// sayFull tells that older records have gone, or are about to.
func (f *failuresFlags) sayFull(cmd *cobra.Command, v *visited) error {
	full, err := v.store.Full(cmd.Context())
	if err != nil {
		return failedError(err)
	}
	if full {
		fmt.Fprintln(cmd.ErrOrStderr(), "the broker's limit for records of rejected documents is reached: older ones, of any job, are gone")
	}
	return nil
}

// each goes through the records that are chosen.
func (f *failuresFlags) each(cmd *cobra.Command, v *visited, do func(*failures.Record) error) error {
	err := v.store.Each(cmd.Context(), v.ID, func(r *failures.Record) error {
		if !f.choice.has(r) {
			return nil
		}
		return do(r)
	})
	return failedOrInterrupted(cmd.Context(), err)
}

func (f *failuresFlags) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show JOB ID [REV]",
		Short: "Show one rejected document",
		Long:  "Shows all that is known of a rejected document, and the document itself where it is kept.\n\n" + failuresHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := atLeast(2, "JOB ID [REV]")(cmd, args); err != nil {
				return err
			}
			return atMost(3, "JOB ID [REV]")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.choice.ids = args[1:2]
			if len(args) == 3 {
				f.choice.rev = args[2]
			}
			return f.withJob(cmd, args[0], f.show)
		},
	}
}

func (f *failuresFlags) show(cmd *cobra.Command, v *visited) error {
	n := 0
	err := f.each(cmd, v, func(r *failures.Record) error {
		n++
		doc, err := v.store.Document(cmd.Context(), r)
		if err != nil && !errors.Is(err, failures.ErrNotKept) {
			return failedError(err)
		}
		return f.print(cmd.OutOrStdout(), v.line(r).with(doc))
	})
	if err == nil && n == 0 {
		return failedError(errors.New("no such rejected document"))
	}
	return err
}

func (f *failuresFlags) print(out io.Writer, l recordLine) error {
	if f.json {
		return printLines(out, []recordLine{l})
	}
	doc := l.Doc
	l.Doc = nil
	fields := []struct{ name, value string }{
		{"document", l.ID}, {"revision", l.Rev}, {"status", status(l.Status)}, {"error", l.Error}, {"reason", l.Reason},
		{"stage", l.Stage}, {"attempts", fmt.Sprint(l.Attempts)}, {"first", l.FirstTime}, {"last", l.Time},
		{"trace", l.TraceID}, {"size", fmt.Sprintf("%d bytes", l.Size)}, {"source", l.Source.URL},
	}
	for _, field := range fields {
		if field.value != "" {
			fmt.Fprintf(out, "%-9s %s\n", field.name, clean(field.value))
		}
	}
	switch {
	case doc != nil:
		fmt.Fprintf(out, "\n%s\n\n", doc)
	case l.DocBase64 != "":
		fmt.Fprintf(out, "\n%s (Base64)\n\n", l.DocBase64)
	default:
		fmt.Fprintln(out, "\nThe document is not kept here: it is at the source.")
	}
	return nil
}

func (f *failuresFlags) exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export JOB [ID...]",
		Short: "Print rejected documents as lines of JSON, with the documents",
		Long: `Prints a line of JSON for each rejected document, with the document itself as "doc" where
it is kept; "source" says where any is.

` + failuresHelp,
		Args: atLeast(1, "JOB [ID...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.choice.ids = args[1:]
			return f.withJob(cmd, args[0], f.export)
		},
	}
	f.choice.flags(cmd.Flags())
	return cmd
}

func (f *failuresFlags) export(cmd *cobra.Command, v *visited) error {
	return f.each(cmd, v, func(r *failures.Record) error {
		doc, err := v.store.Document(cmd.Context(), r)
		if err != nil && !errors.Is(err, failures.ErrNotKept) {
			return failedError(err)
		}
		return printLines(cmd.OutOrStdout(), []recordLine{v.line(r).with(doc)})
	})
}

// table prints columns; on a terminal no line is wrapped.
type table struct {
	out   io.Writer
	width int
	tabs  *tabwriter.Writer
	lines *strings.Builder
}

func newTable(out io.Writer) *table {
	t := &table{out: out, width: width(out), lines: &strings.Builder{}}
	t.tabs = tabwriter.NewWriter(t.lines, 0, 8, 2, ' ', 0)
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = clean(cell)
	}
	fmt.Fprintln(t.tabs, strings.Join(cells, "\t"))
	if t.lines.Len() > 1<<20 { // a million rows are not kept for their columns
		t.flush() //nolint:errcheck // the last one says so
	}
}

// clean makes one line of a text that others wrote, and takes from it what would move the cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

func (t *table) flush() error {
	t.tabs.Flush() //nolint:errcheck // to memory
	text := t.lines.String()
	t.lines.Reset()
	for line := range strings.Lines(text) {
		if runes := []rune(line); t.width > 0 && len(runes) > t.width {
			line = string(runes[:t.width-1]) + "…\n"
		}
		if _, err := io.WriteString(t.out, line); err != nil {
			return err
		}
	}
	return nil
}
