package replicator

import (
	"context"
	"fmt"

	"millrace/pkg/control"
)

// sameSource checks that the source is the database that the run began with. Whenever its
// feed is opened the source may have been made again; without a checkpoint to write,
// in a quiet feed, nobody would look, and what the new one has below the old one's seq
// would never be read (invariant 1).
//
// A source that does not answer is no reason to end the run: its reader notices that too.
func (r *run) sameSource(ctx context.Context) error {
	reply, err := r.ask(ctx, control.Source, info())
	if err != nil {
		r.log.DebugContext(ctx, "source was not looked at; its reader reports what is wrong", "error", err)
		return nil
	}
	if tells(reply.InstanceStartTime) && tells(r.progress.SourceInstance) && reply.InstanceStartTime != r.progress.SourceInstance {
		return replacedSource("instance_start_time on %s database has changed since last checkpoint.")
	}
	if !r.job.Tuning.UseCheckpoints || r.progress.ReadOnlySource || r.progress.SourceSession == "" {
		return nil
	}
	// instance_start_time has a resolution of one second.
	reply, err = r.ask(ctx, control.Source, getCheckpoint(r.base))
	if err == nil && len(reply.Log) == 0 {
		return replacedSource("the checkpoint on the %s database is gone since it was written.")
	}
	return nil
}

// tells reports whether an instance_start_time says anything: servers without give "0".
func tells(instance string) bool { return instance != "" && instance != "0" }

func replacedSource(format string) *crash {
	return &crash{lost: true, reason: fmt.Sprintf(format, control.Source)} // another run starts over
}
