package replication

import (
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
	Targets []Target

	// Cancel asks to end the replication that the other fields describe, or
	// that CancelID names if it is not zero; Source and Targets are then empty.
	// It has a meaning in POST /_replicate only.
	Cancel   bool
	CancelID ID

	Continuous      bool
	WinningRevsOnly bool
	// Terms are those of the document. Of a document with `targets` they are for targets
	// that have none of their own.
	Terms

	// SinceSeq is the raw sequence to start at where there is no checkpoint;
	// nil for the beginning.
	SinceSeq jsontext.Value

	Tuning

	// Owner is the user that the document belongs to; "" for none.
	Owner string
	// UserCtx is what the document says of the user, nil if nothing.
	UserCtx *UserCtx

	// Paused is ours: do not run.
	Paused bool

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
