package replicator

import (
	"fmt"

	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

// MaxWorkers is the most that worker_processes can be, and maxBatchRows the most that worker_batch_size
// can. What a document may ask for is bounded by nothing but the size of a number; memory is bounded
// (invariant 5). CouchDB's own bound is the size of its queue, 100 KiB for each worker.
const (
	MaxWorkers   = 64
	maxBatchRows = 10_000
)

// tuningOf is what of a replication's options the stages need, and what of it is not as
// the document says.
func tuningOf(t replication.Tuning) (*millracev1.Tuning, []string) {
	var notes []string
	atMost := func(option string, n, most int) uint32 {
		if n > most {
			notes = append(notes, fmt.Sprintf("`%s` is taken to be %d, the most that there can be", option, most))
		}
		return uint32(min(n, most))
	}
	return &millracev1.Tuning{
		BatchRows:       atMost("worker_batch_size", t.WorkerBatchSize, maxBatchRows),
		WorkerProcesses: atMost("worker_processes", t.WorkerProcesses, MaxWorkers),
		UseBulkGet:      t.UseBulkGet, UseCheckpoints: t.UseCheckpoints,
		CheckpointIntervalMs: uint32(t.CheckpointInterval.Milliseconds()),
	}, notes
}

// withoutEffect tells operators of options that they may rely on.
func withoutEffect(options []string) (notes []string) {
	for _, option := range options {
		notes = append(notes, fmt.Sprintf("the option `%s` has no effect here", option))
	}
	return notes
}
