package replicator

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	millracev1 "millrace/proto/millrace/v1"
)

const (
	// statusInterval is how often a run that moves says how it goes, and statusRest one that does not: with
	// thousands of quiet jobs, saying the same again is most of what they do.
	statusInterval = 250 * time.Millisecond
	statusRest     = 15 * time.Second
)

// statusTimer fires when a run is to say how it goes.
type statusTimer struct {
	timer *time.Timer
	soon  bool
}

func newStatusTimer() *statusTimer {
	return &statusTimer{timer: time.NewTimer(statusInterval), soon: true}
}

// changed is told that there is something to say.
func (t *statusTimer) changed() {
	if !t.soon {
		t.soon = true
		t.timer.Reset(statusInterval)
	}
}

// published is told that it was said.
func (t *statusTimer) published() {
	t.soon = false
	t.timer.Reset(statusRest)
}

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
