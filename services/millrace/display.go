package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"millrace/pkg/checkpoint"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

// lineInterval is how often progress is printed where it is not a terminal.
const lineInterval = 5 * time.Second

// display shows how a replication goes: a bar on a terminal, lines elsewhere, and a
// summary in CouchDB's counters at the end.
type display struct {
	out, err    io.Writer
	json, quiet bool
	bar         bool
	continuous  bool
	began       time.Time
	last        *millracev1.Status
	lastLine    time.Time
	state       string
	reason      string
	drawn       bool
	totals      *millracev1.Counters
	finished    bool
	settled     bool
	rate        rate
	notes       []string
	replication string // its id
	failures    string // the command that lists what could not be written
	// board shows it together with others; nil for one that is alone. target is then its name.
	board  *board
	target string
	failed error // why it is at its end, where it is not completed
	// result is what CouchDB's replicator would answer; only of one that is finished.
	result checkpoint.Result
}

func newDisplay(cmd *cobra.Command, asJSON, quiet bool, job *millracev1.Job) *display {
	now := time.Now()
	d := &display{
		out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: asJSON, quiet: quiet,
		bar: !asJSON && !quiet && isTerminal(cmd.ErrOrStderr()), continuous: job.Continuous,
		began: now, lastLine: now, last: &millracev1.Status{Total: -1},
	}
	d.note(job.Notes)
	return d
}

// note tells what an operator should know of the job, each thing once.
func (d *display) note(notes []string) {
	for _, text := range notes {
		if slices.Contains(d.notes, text) {
			continue
		}
		d.notes = append(d.notes, text)
		switch {
		case d.json, d.quiet:
		case d.board != nil:
			d.board.remark(d.target, text)
		default:
			d.clear()
			fmt.Fprintf(d.err, "note: %s\n", text)
		}
	}
}

// status takes in how the run goes.
func (d *display) status(s *millracev1.Status) {
	d.last = s
	d.rate.add(time.Now(), s)
	switch {
	case d.quiet, d.settled:
	case d.json:
		d.printJSON(d.progress("progress"))
	case d.board != nil:
		d.board.refresh()
	case d.bar:
		d.draw()
	case time.Since(d.lastLine) >= lineInterval:
		d.lastLine = time.Now()
		fmt.Fprintln(d.err, d.text())
	}
}

// job takes in the job's state.
func (d *display) job(j *millracev1.Job) {
	d.totals, d.replication = j.Totals, j.ReplicationId
	d.note(j.Notes)
	if j.State == d.state && j.Reason == d.reason {
		return
	}
	d.state, d.reason = j.State, j.Reason
	if d.json && !d.quiet {
		d.printJSON(d.named(map[string]any{
			"type": "state", "state": j.State, "reason": j.Reason, "replication_id": j.ReplicationId,
			"error_count": j.ErrorCount, "notes": j.Notes,
		}))
		return
	}
	if j.State == string(replication.Crashing) && !d.quiet {
		again := time.Until(time.Unix(0, j.RetryAt)).Round(100 * time.Millisecond)
		line := fmt.Sprintf("crashed (%d in a row): %s; next attempt in %s", j.ErrorCount, j.Reason, max(0, again))
		if d.board != nil {
			d.board.tell(d.target, line)
			return
		}
		d.clear()
		fmt.Fprintln(d.err, line)
	}
}

// ended tells of an end that is not that of the others.
func (d *display) ended(err error) {
	var code *exitError
	if !errors.As(err, &code) || code.err == nil {
		return // it is completed, but for what the target refused
	}
	if d.failed = err; d.board != nil && !d.json && !d.quiet {
		d.board.tell(d.target, err.Error())
	}
}

// named says which target it is that JSON is about, where there are several.
func (d *display) named(out map[string]any) map[string]any {
	if d.board != nil {
		out["target"], out["replication_id"] = d.target, d.replication
	}
	return out
}

func (d *display) completed(j *millracev1.Job) error {
	d.finished, d.totals = true, j.Totals
	if d.last.Session.GetDocWriteFailures() > 0 {
		return &exitError{code: exitRejected}
	}
	return nil
}

// interrupted is the end of a replication that was told to stop: the regular one of a
// continuous replication.
func (d *display) interrupted() error {
	if d.continuous {
		return nil
	}
	return &exitError{code: exitInterrupted}
}

// progress is what --json prints.
func (d *display) progress(kind string) map[string]any {
	s := d.last
	out := map[string]any{
		"type": kind, "elapsed_ms": time.Since(d.began).Milliseconds(),
		"changes_done": s.Rows, "changes_pending": nil,
		"docs_per_second": round1(d.rate.docs), "bytes_per_second": int64(d.rate.bytes),
	}
	if s.Total >= 0 {
		out["changes_pending"] = max(0, s.Total-int64(s.Rows))
	}
	for name, n := range counted(s.Session) {
		out[name] = n
	}
	return d.named(out)
}

// counted are CouchDB's counters under CouchDB's names.
func counted(c *millracev1.Counters) map[string]uint64 {
	return map[string]uint64{
		"missing_checked": c.GetMissingChecked(), "missing_found": c.GetMissingFound(),
		"docs_read": c.GetDocsRead(), "docs_written": c.GetDocsWritten(),
		"doc_write_failures": c.GetDocWriteFailures(),
		"bulk_get_docs":      c.GetBulkGetDocs(), "bulk_get_attempts": c.GetBulkGetAttempts(),
		"bytes_written": c.GetBytesWritten(),
	}
}

// done ends the bar.
func (d *display) done() {
	if d.drawn {
		d.draw()
		fmt.Fprintln(d.err)
		d.drawn = false
	}
}

// settle ends the progress. What happens to the job is still told.
func (d *display) settle() { d.settled = true }

// summary prints what this session did, in CouchDB's counters.
func (d *display) summary() {
	if d.json {
		out := d.progress("summary")
		out["ok"], out["state"] = d.finished || d.continuous && d.failed == nil, d.state
		out["totals"], out["notes"], out["replication_id"] = counted(d.totals), d.notes, d.replication
		if d.finished {
			out["result"] = d.result
		} else if d.failed != nil {
			out["error"] = d.failed.Error()
		}
		if d.last.Session.GetDocWriteFailures() > 0 {
			out["failures"] = d.failures
		}
		d.printJSON(out)
		return
	}
	c := d.last.Session
	if d.board != nil {
		fmt.Fprintf(d.out, "%s: ", d.target)
	}
	if d.board != nil && d.failed != nil && !d.finished {
		fmt.Fprintf(d.out, "%v\n", d.failed)
		return
	}
	fmt.Fprintf(d.out, "%s in %s: missing_checked %d, missing_found %d, docs_read %d, docs_written %d, doc_write_failures %d (%s)\n",
		d.outcome(), time.Since(d.began).Round(10*time.Millisecond), c.GetMissingChecked(), c.GetMissingFound(),
		c.GetDocsRead(), c.GetDocsWritten(), c.GetDocWriteFailures(), size(c.GetBytesWritten()))
	if n := c.GetDocWriteFailures(); n > 0 {
		fmt.Fprintf(d.out, "not written: %d documents, with the reason of each in:\n  %s\n", n, d.failures)
	}
}

func (d *display) outcome() string {
	switch {
	case d.finished:
		return "completed"
	case d.state == string(replication.Failed), d.state == string(replication.Crashing):
		return d.state
	default:
		return "stopped"
	}
}

func (d *display) printJSON(v any) {
	line, err := json.Marshal(v)
	if err == nil {
		fmt.Fprintf(d.out, "%s\n", line)
	}
}
