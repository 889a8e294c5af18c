package replication

import "strings"

// State is where a job is in its life, in CouchDB's words (reference:
// couch_replicator, "Replication states") and one of ours.
type State string

const (
	// Initializing: the document was read, the job is not yet scheduled.
	Initializing State = "initializing"
	// Error: the job could not be made from its document, for a reason that may
	// pass, such as a filter that could not be fetched.
	Error State = "error"
	// Running: a run is under way.
	Running State = "running"
	// Pending: waiting for its turn.
	Pending State = "pending"
	// Crashing: the last run failed; another follows after a back-off.
	Crashing State = "crashing"
	// Completed: a one-shot job has replicated everything.
	Completed State = "completed"
	// Failed: the job cannot be run until its document is changed.
	Failed State = "failed"
	// Paused: stopped by a user until resumed. CouchDB does not have it.
	Paused State = "paused"
)

// States returns all states, those of CouchDB first and in its order.
func States() []State {
	return []State{Initializing, Error, Running, Pending, Crashing, Completed, Failed, Paused}
}

// ParseState reads a state in any case, as the parameter states of
// /_scheduler/docs has it; false if there is no such state.
func ParseState(word string) (State, bool) {
	s := State(strings.ToLower(word))
	for _, known := range States() {
		if s == known {
			return s, true
		}
	}
	return "", false
}

// Terminal reports that nothing follows unless somebody acts.
func (s State) Terminal() bool { return s == Completed || s == Failed }
