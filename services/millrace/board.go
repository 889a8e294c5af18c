package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/replication"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

const (
	// fewTargets have a line each; of more, what they are together is shown.
	fewTargets = 8
	// namedTargets is how many are listed at the end of those that have something wrong with them.
	namedTargets = 20
	// drawInterval is the least time between two pictures of several targets.
	drawInterval = 100 * time.Millisecond
)

// board shows how the jobs of a submission go. That of a single one is its display.
type board struct {
	courses     []*course
	byID        map[string]*course
	interrupted bool

	out, err              io.Writer
	json, quiet, terminal bool
	began, last           time.Time
	drawn                 int // lines
	notes                 map[string]bool
}

// alone is the board of one job.
func alone(out *display, submitted *millracev1.Job) *board {
	c := newCourse(out, submitted)
	return &board{courses: []*course{c}, byID: map[string]*course{submitted.Id: c}}
}

func newBoard(cmd *cobra.Command, asJSON, quiet bool, jobs []*millracev1.Job) *board {
	if len(jobs) == 1 {
		return alone(newDisplay(cmd, asJSON, quiet, jobs[0]), jobs[0])
	}
	now := time.Now()
	b := &board{
		byID: make(map[string]*course, len(jobs)), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(),
		json: asJSON, quiet: quiet, terminal: !asJSON && !quiet && isTerminal(cmd.ErrOrStderr()),
		began: now, last: now, notes: map[string]bool{},
	}
	names := namesOf(jobs)
	for i, job := range jobs {
		c := newCourse(b.display(names[i], job), job)
		b.courses, b.byID[job.Id] = append(b.courses, c), c
	}
	return b
}

// display is one target's.
func (b *board) display(name string, job *millracev1.Job) *display {
	d := &display{
		out: b.out, err: b.err, json: b.json, quiet: b.quiet, continuous: job.Continuous, board: b, target: name,
		began: b.began, last: &millracev1.Status{Total: -1}, replication: job.ReplicationId,
	}
	d.note(job.Notes)
	return d
}

// namesOf are the jobs' targets; with the beginning of the job's id where several have the same.
func namesOf(jobs []*millracev1.Job) []string {
	names, count := make([]string, len(jobs)), map[string]int{}
	for i, job := range jobs {
		names[i] = telemetry.Redact(job.TargetUrl)
		count[names[i]]++
	}
	for i, job := range jobs {
		if count[names[i]] > 1 {
			names[i] += " (" + job.ReplicationId[:min(8, len(job.ReplicationId))] + ")"
		}
	}
	return names
}

// status takes in how a run goes; nil if it is another's.
func (b *board) status(encoded []byte) *millracev1.Status {
	var s millracev1.Status
	if proto.Unmarshal(encoded, &s) != nil || b.byID[s.Job] == nil {
		return nil
	}
	b.byID[s.Job].out.status(&s)
	return &s
}

func (b *board) over() bool {
	return !slices.ContainsFunc(b.courses, func(c *course) bool { return !c.over })
}

// refresh shows how all go, now and then.
func (b *board) refresh() {
	interval := lineInterval
	if b.terminal {
		interval = drawInterval
	}
	if time.Since(b.last) < interval {
		return
	}
	b.last = time.Now()
	b.draw()
}

func (b *board) draw() {
	b.clear()
	lines := []string{b.together()}
	if len(b.courses) <= fewTargets {
		lines = lines[:0]
		for _, c := range b.courses {
			lines = append(lines, c.out.target+": "+c.line())
		}
	}
	for _, line := range lines {
		fmt.Fprintln(b.err, line)
	}
	if b.terminal {
		b.drawn = len(lines)
	}
}

func (c *course) line() string {
	if c.over {
		return c.outcome()
	}
	return c.out.text()
}

// clear removes the picture, for lines that stay.
func (b *board) clear() {
	if b.drawn > 0 {
		fmt.Fprintf(b.err, "\x1b[%dA\r\x1b[J", b.drawn)
		b.drawn = 0
	}
}

// done ends the picture.
func (b *board) done() {
	switch {
	case len(b.courses) == 1:
		b.courses[0].out.done()
	case b.terminal:
		b.draw()
		b.drawn = 0
	}
}

// tell prints a line that stays, about one target.
func (b *board) tell(target, line string) {
	b.clear()
	fmt.Fprintf(b.err, "%s: %s\n", target, line)
}

// remark prints what is said of jobs, each thing once, whatever the number of jobs that it is said of.
func (b *board) remark(target, text string) {
	if b.notes[text] {
		return
	}
	b.notes[text] = true
	b.tell(target, "note: "+text)
}

// count is how many there are of each outcome, and what they have done together.
func (b *board) count() (completed, failed int, sum replication.Stats) {
	for _, c := range b.courses {
		switch {
		case c.out.finished:
			completed++
		case c.err != nil:
			failed++
		}
		s := c.out.last.Session
		sum = sum.Add(replication.Stats{
			MissingChecked: int64(s.GetMissingChecked()), MissingFound: int64(s.GetMissingFound()),
			DocsRead: int64(s.GetDocsRead()), DocsWritten: int64(s.GetDocsWritten()),
			DocWriteFailures: int64(s.GetDocWriteFailures()), BytesWritten: int64(s.GetBytesWritten()),
		})
	}
	return completed, failed, sum
}

// together is how all of them go, in a line.
func (b *board) together() string {
	completed, failed, sum := b.count()
	docs, bytes := 0.0, 0.0
	for _, c := range b.courses {
		if !c.over {
			docs, bytes = docs+c.out.rate.docs, bytes+c.out.rate.bytes
		}
	}
	line := fmt.Sprintf("%d targets, %d completed", len(b.courses), completed)
	if failed > 0 {
		line += fmt.Sprintf(", %d failed", failed)
	}
	line += fmt.Sprintf(", %d docs written, %.0f docs/s, %s/s", sum.DocsWritten, docs, size(uint64(bytes)))
	if sum.DocWriteFailures > 0 {
		line += fmt.Sprintf(", %d rejected", sum.DocWriteFailures)
	}
	return line
}

// verdict is the command's end.
func (b *board) verdict() error {
	if len(b.courses) == 1 {
		c := b.courses[0]
		if b.interrupted && !c.over {
			return c.out.interrupted()
		}
		return c.err
	}
	_, failed, _ := b.count()
	rejected := false
	for _, c := range b.courses {
		var code *exitError
		rejected = rejected || errors.As(c.err, &code) && code.code == exitRejected
	}
	switch {
	case failed > 0:
		return failedError(fmt.Errorf("%d of %d targets failed", failed, len(b.courses)))
	case b.interrupted && !b.over():
		return b.courses[0].out.interrupted()
	case rejected:
		return &exitError{code: exitRejected}
	}
	return nil
}

// summary prints what this session did: of each target, where they are few or asked for as JSON, else of
// those with which something is wrong; and of all together.
func (b *board) summary() {
	if len(b.courses) == 1 {
		b.courses[0].out.summary()
		return
	}
	named := 0
	for _, c := range b.courses {
		wrong := c.err != nil || c.out.last.Session.GetDocWriteFailures() > 0
		if !b.json && len(b.courses) > fewTargets && !wrong {
			continue
		}
		if named++; !b.json && named > max(namedTargets, fewTargets) {
			fmt.Fprintln(b.out, "... and more")
			break
		}
		c.out.summary()
	}
	completed, failed, sum := b.count()
	if b.json {
		b.printTotal(completed, failed, sum)
		return
	}
	fmt.Fprintf(b.out, "%d targets in %s: %d completed, %d failed: docs_read %d, docs_written %d, doc_write_failures %d (%s)\n",
		len(b.courses), time.Since(b.began).Round(10*time.Millisecond), completed, failed,
		sum.DocsRead, sum.DocsWritten, sum.DocWriteFailures, size(uint64(sum.BytesWritten)))
}

func (b *board) printTotal(completed, failed int, sum replication.Stats) {
	b.courses[0].out.printJSON(map[string]any{
		"type": "total", "elapsed_ms": time.Since(b.began).Milliseconds(), "targets": len(b.courses),
		"completed": completed, "failed": failed,
		"missing_checked": sum.MissingChecked, "missing_found": sum.MissingFound, "docs_read": sum.DocsRead,
		"docs_written": sum.DocsWritten, "doc_write_failures": sum.DocWriteFailures, "bytes_written": sum.BytesWritten,
	})
}
