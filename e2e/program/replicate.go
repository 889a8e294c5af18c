package program

import (
	"encoding/json"
	"slices"
	"testing"
)

// Exit codes of millrace, as its help lists them.
const (
	ExitOK          = 0
	ExitDifferent   = 1
	ExitUsage       = 2
	ExitFailed      = 3
	ExitRejected    = 4
	ExitInterrupted = 130
)

// Counters are CouchDB's counters of a replication.
type Counters struct {
	MissingChecked   int `json:"missing_checked"`
	MissingFound     int `json:"missing_found"`
	DocsRead         int `json:"docs_read"`
	DocsWritten      int `json:"docs_written"`
	DocWriteFailures int `json:"doc_write_failures"`
	BulkGetDocs      int `json:"bulk_get_docs"`
	BulkGetAttempts  int `json:"bulk_get_attempts"`
	BytesWritten     int `json:"bytes_written"`
}

// Event is a line of millrace replicate --json.
type Event struct {
	// Type is "state", "progress" or "summary"; of several targets, there is a "total" at the end.
	Type string `json:"type"`
	// Target is which of several targets it is about; empty where there is one.
	Target string `json:"target"`

	// Of several targets, in the event of type total.
	Targets   int `json:"targets"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`

	// Of the job, in events of the types state and summary.
	State         string   `json:"state"`
	ReplicationID string   `json:"replication_id"`
	Notes         []string `json:"notes"`
	// In events of type state alone.
	Reason     string `json:"reason"`
	ErrorCount int    `json:"error_count"`

	// Of this run, in events of the types progress and summary. Pending is nil where
	// it is not known.
	Counters
	ChangesDone    int  `json:"changes_done"`
	ChangesPending *int `json:"changes_pending"`

	// Of the job over all its runs, in the summary.
	Totals Counters `json:"totals"`
	OK     bool     `json:"ok"`
	// Error is why it has failed, in the summary of one of several targets.
	Error string `json:"error"`
	// Failures is the command that lists what could not be written; empty if all was.
	Failures string `json:"failures"`
	// Result is what CouchDB's replicator would answer, in the summary of one that is complete.
	Result Result `json:"result"`
}

// Result is what CouchDB's POST /_replicate answers about a one-shot replication, whichever
// replicator did it.
type Result struct {
	OK        bool `json:"ok"`
	NoChanges bool `json:"no_changes"`
	// UseCheckpoints is nil but where there are none.
	UseCheckpoints *bool           `json:"use_checkpoints"`
	SessionID      string          `json:"session_id"`
	SourceLastSeq  json.RawMessage `json:"source_last_seq"`
	Version        int             `json:"replication_id_version"`
	History        []Session       `json:"history"`
	// Of a replication by doc_ids.
	DocsRead         *int   `json:"docs_read"`
	DocsWritten      *int   `json:"docs_written"`
	DocWriteFailures *int   `json:"doc_write_failures"`
	StartTime        string `json:"start_time"`
	// Reason is why there is no result.
	Reason string `json:"reason"`
}

// Session is one entry of a checkpoint's history. Its counters are totals.
type Session struct {
	Counters
	SessionID    string          `json:"session_id"`
	StartLastSeq json.RawMessage `json:"start_last_seq"`
	EndLastSeq   json.RawMessage `json:"end_last_seq"`
	RecordedSeq  json.RawMessage `json:"recorded_seq"`
}

// Replication is a running millrace replicate.
type Replication struct {
	*Process
}

// Replicate runs millrace replicate --json, with the whole pipeline in that one
// process. Each has a data directory and a UUID of its own, unless --data is among
// the arguments.
func Replicate(t testing.TB, args ...string) *Replication {
	t.Helper()
	return &Replication{Start(t, Millrace, append([]string{"replicate", "--json"}, args...))}
}

// Events returns what it has said so far.
func (r *Replication) Events() []Event {
	r.t.Helper()
	var events []Event
	for _, line := range r.Stdout.Lines() {
		events = append(events, r.event(line))
	}
	return events
}

// Until waits for an event that found accepts and returns it.
func (r *Replication) Until(found func(Event) bool) Event {
	r.t.Helper()
	return r.event(r.WaitLine(r.Stdout, func(line string) bool { return found(r.event(line)) }))
}

// CaughtUp waits until nothing was pending, after at least this number of changes.
func (r *Replication) CaughtUp(changes int) Event {
	r.t.Helper()
	return r.Until(func(e Event) bool {
		return e.Type == "progress" && e.ChangesDone >= changes && e.ChangesPending != nil && *e.ChangesPending == 0
	})
}

// Completed waits for the end, fails the test unless the exit code is 0, and
// returns the summary.
func (r *Replication) Completed() Event {
	r.t.Helper()
	return r.Exited(ExitOK)
}

// Exited waits for the end, fails the test unless it is with this exit code, and
// returns the summary, if there is one.
func (r *Replication) Exited(code int) Event {
	r.t.Helper()
	if got := r.Wait(); got != code {
		r.t.Fatalf("millrace replicate ended with %d instead of %d:\n%s%s", got, code, abridged(r.Stdout), abridged(r.Stderr))
	}
	return r.Summary()
}

// Summary returns the summary of one that has ended; without one, the zero Event.
func (r *Replication) Summary() Event {
	r.t.Helper()
	for _, e := range r.Summaries() {
		return e
	}
	return Event{}
}

// Summaries are those of all targets, in their order.
func (r *Replication) Summaries() []Event {
	r.t.Helper()
	return slices.DeleteFunc(r.Events(), func(e Event) bool { return e.Type != "summary" })
}

func (r *Replication) event(line string) Event {
	r.t.Helper()
	var e Event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		r.t.Fatalf("millrace replicate --json printed %q: %v", line, err)
	}
	return e
}
