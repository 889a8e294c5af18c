package replication

import (
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Spec is what a replication document asks for, with CouchDB's defaults for
// what it leaves open. Field names are those of the document.
type Spec struct {
	// DocID is the document's _id; "" for a request to _replicate.
	DocID string

	// Source and Targets. A document with `target` has one target; our
	// `targets` may list several, which makes one job each.
	Source  Endpoint
	Targets []Endpoint

	// Cancel asks to end the replication that the other fields describe, or
	// that CancelID names if it is not zero; Source and Targets are then empty.
	// It has a meaning in POST /_replicate only.
	Cancel   bool
	CancelID ID

	Continuous         bool
	CreateTarget       bool
	CreateTargetParams url.Values
	WinningRevsOnly    bool

	// At most one of DocIDs, Filter and Selector is given. DocIDs is sorted,
	// without repetitions, and not nil when given: an empty one selects nothing.
	DocIDs []string
	// Filter is "designdoc/name", or a built-in such as "_view"; "" for none.
	Filter string
	// QueryParams is the raw object of the filter's parameters, nil if absent.
	QueryParams jsontext.Value
	// Selector is the raw Mango selector, nil if absent.
	Selector jsontext.Value

	// SinceSeq is the raw sequence to start at where there is no checkpoint;
	// nil for the beginning.
	SinceSeq jsontext.Value

	Tuning

	// Owner is the user that the document belongs to; "" for none.
	Owner string
	// UserCtx is what the document says of the user, nil if nothing.
	UserCtx *UserCtx

	// Paused and SkipDeletes are ours: do not run; do not replicate deletions.
	Paused      bool
	SkipDeletes bool

	// Ignored lists options that were given and have no meaning here.
	Ignored []string
}

// Tuning are the options that say how to replicate, not what; they are not part
// of the replication id.
type Tuning struct {
	// UseCheckpoints: record progress in both databases.
	UseCheckpoints bool
	// CheckpointInterval between two checkpoints.
	CheckpointInterval time.Duration
	// UseBulkGet: read documents with _bulk_get where the source has it.
	UseBulkGet bool
	// WorkerProcesses is the number of batches in work at once.
	WorkerProcesses int
	// WorkerBatchSize is the number of changes in a batch.
	WorkerBatchSize int
	// HTTPConnections to each endpoint, at most.
	HTTPConnections int
	// ConnectionTimeout is the longest time without any data.
	ConnectionTimeout time.Duration
	// RetriesPerRequest after a failure that may pass.
	RetriesPerRequest int
}

// UserCtx is the user on whose behalf a document was written.
type UserCtx struct {
	Name  string // "" for null
	Roles []string
}

// DefaultTuning has the defaults of CouchDB 3.5.
func DefaultTuning() Tuning {
	return Tuning{
		UseCheckpoints:     true,
		CheckpointInterval: 30 * time.Second,
		UseBulkGet:         true,
		WorkerProcesses:    4,
		WorkerBatchSize:    500,
		HTTPConnections:    20,
		ConnectionTimeout:  30 * time.Second,
		RetriesPerRequest:  5,
	}
}

// Job is one replication: a spec with one of its targets.
type Job struct {
	*Spec
	Target Endpoint
}

// Jobs returns a job for every target.
func (s *Spec) Jobs() []Job {
	jobs := make([]Job, len(s.Targets))
	for i, t := range s.Targets {
		jobs[i] = Job{s, t}
	}
	return jobs
}

// FilterDesignDoc returns the design document, without "_design/", and the name
// of the filter function that has to be fetched from the source to compute the
// id; false when there is none.
func (s *Spec) FilterDesignDoc() (designDoc, name string, ok bool) {
	if s.Filter == "" || s.builtinFilter() {
		return "", "", false
	}
	return strings.Cut(s.Filter, "/")
}

// View returns the design document, without "_design/", and the view of the
// built-in filter _view; false for any other filter.
func (s *Spec) View() (designDoc, view string, ok bool) {
	if s.Filter != "_view" {
		return "", "", false
	}
	param, ok := viewParam(s.QueryParams)
	if !ok {
		return "", "", false
	}
	return strings.Cut(param, "/")
}

func (s *Spec) builtinFilter() bool { return strings.HasPrefix(s.Filter, "_") }
