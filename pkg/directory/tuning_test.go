package directory_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/directory"
	millracev1 "millrace/proto/millrace/v1"
)

func TestRunAfterAThrottledOneIsGentle(t *testing.T) {
	usual := &millracev1.Tuning{BatchRows: 500, WorkerProcesses: 4, CheckpointIntervalMs: 30000, UseBulkGet: true}
	for _, test := range []struct {
		name       string
		throttled  bool
		told, want *millracev1.Tuning
	}{
		{"as told", false, usual, usual},
		{"gentle", true, usual, &millracev1.Tuning{BatchRows: 100, WorkerProcesses: 2, CheckpointIntervalMs: 5000, UseBulkGet: true}},
		{
			"gentler as told", true,
			&millracev1.Tuning{BatchRows: 10, WorkerProcesses: 1, CheckpointIntervalMs: 100},
			&millracev1.Tuning{BatchRows: 10, WorkerProcesses: 1, CheckpointIntervalMs: 100},
		},
		{"by the stage's default", true, &millracev1.Tuning{BatchRows: 500, CheckpointIntervalMs: 1}, &millracev1.Tuning{BatchRows: 100, WorkerProcesses: 2, CheckpointIntervalMs: 1}},
		{"unknown", true, nil, nil},
	} {
		told := proto.CloneOf(test.told)
		got := directory.Tuning(&millracev1.Job{Tuning: told, Throttled: test.throttled})
		if !proto.Equal(got, test.want) || !proto.Equal(told, test.told) {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	if directory.Tuning(nil) != nil {
		t.Error("of no job")
	}
}
