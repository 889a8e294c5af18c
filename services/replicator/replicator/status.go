package replicator

import (
	"context"

	"google.golang.org/protobuf/proto"

	millracev1 "millrace/proto/millrace/v1"
)

// publishStatus says how the run goes, to whoever is listening.
func (r *run) publishStatus(ctx context.Context) {
	at := r.mark.Stats()
	s := &millracev1.Status{
		Job: r.job.Id, Run: r.job.Run, State: r.job.State, Reason: r.job.Reason,
		Totals: countersOf(r.before.Add(at)), Session: countersOf(at),
		Rows: r.window.rowsUpTo(r.mark.Ordinal()), Total: r.progress.Total,
		Ordinal: r.mark.Ordinal(), Head: r.mark.Head(),
		ThroughSeq: r.mark.Seq(), CheckpointedSeq: r.saved.Seq,
	}
	payload, err := proto.Marshal(s)
	if err == nil {
		err = r.m.broker.Conn().Publish(r.m.broker.Subjects().Status(r.job.Id), payload)
	}
	if err != nil {
		r.log.DebugContext(ctx, "status was not published", "error", err)
	}
}
