package directory

import (
	"google.golang.org/protobuf/proto"

	millracev1 "millrace/proto/millrace/v1"
)

// What a run does at most after one that a database throttled, as in CouchDB's scheduler. Its
// five http_connections are not among it: they are to lower the rate, and the rate
// does not depend on connections here (package ratelimit).
const (
	gentleCheckpointMs = 5000
	gentleWorkers      = 2
	gentleBatch        = 100
)

// Tuning is how the job's run is to work: as the job says, but gently where the run before
// ended because a database refused too many requests. More checkpoints keep what such a run gets
// done, and smaller batches lose less of it.
func Tuning(job *millracev1.Job) *millracev1.Tuning {
	t := job.GetTuning()
	if t == nil || !job.Throttled {
		return t
	}
	t = proto.CloneOf(t)
	t.CheckpointIntervalMs = min(t.CheckpointIntervalMs, gentleCheckpointMs)
	t.BatchRows = min(t.BatchRows, gentleBatch)
	t.WorkerProcesses = gentleWorkers
	if told := job.Tuning.WorkerProcesses; told > 0 {
		t.WorkerProcesses = min(told, gentleWorkers)
	}
	return t
}
