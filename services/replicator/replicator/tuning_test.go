package replicator

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

func TestTuningIsThatOfTheDocumentUpToWhatMemoryBears(t *testing.T) {
	got, notes := tuningOf(replication.DefaultTuning())
	want := &millracev1.Tuning{BatchRows: 500, WorkerProcesses: 4, UseBulkGet: true, UseCheckpoints: true, CheckpointIntervalMs: 30_000}
	if !proto.Equal(got, want) || notes != nil {
		t.Errorf("by default %v, notes %q", got, notes)
	}
	much := replication.DefaultTuning()
	much.WorkerProcesses, much.WorkerBatchSize = 1<<31-1, 10_001
	got, notes = tuningOf(much)
	if got.WorkerProcesses != MaxWorkers || got.BatchRows != maxBatchRows || !slices.Equal(notes, []string{
		"`worker_batch_size` is taken to be 10000, the most that there can be",
		"`worker_processes` is taken to be 64, the most that there can be",
	}) {
		t.Errorf("%v, notes %q", got, notes)
	}
}

func TestOptionsWithoutEffectAreNoted(t *testing.T) {
	if notes := withoutEffect([]string{"socket_options"}); !slices.Equal(notes, []string{"the option `socket_options` has no effect here"}) {
		t.Errorf("notes %q", notes)
	}
	if notes := withoutEffect(nil); notes != nil {
		t.Errorf("notes %q of nothing", notes)
	}
}
