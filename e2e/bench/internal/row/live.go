package row

import (
	"context"
	"errors"
	"fmt"
	"os"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/millrace"
	"millrace/e2e/bench/internal/server"
)

// live is a continuous replication at work.
type live struct {
	pid   int             // of the process that moves the documents; 0 if that is a server
	ended <-chan struct{} // closed if the replication ends by itself; nil if that cannot be known
	// stop ends it, waits for that and returns what is known only then. It
	// says why the replication had ended by itself, if it had.
	stop func() (contest.Measurement, error)
}

// starter begins a continuous replication.
type starter func(ctx context.Context, source, target *server.Database) (*live, error)

// hasReplicator returns an [*contest.Absent] if the source has none.
func (s *Setting) hasReplicator(ctx context.Context) error {
	err := s.Source.HasReplicator(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &contest.Absent{Reason: err.Error()}
}

// startOwn has the source replicate.
func (s *Setting) startOwn(ctx context.Context, source, target *server.Database) (*live, error) {
	if err := s.hasReplicator(ctx); err != nil {
		return nil, err
	}
	if err := s.Source.StartReplication(ctx, source, target); err != nil {
		return nil, fmt.Errorf("start the source's replicator: %w", err)
	}
	return &live{stop: func() (contest.Measurement, error) {
		return nil, s.Source.StopReplication(ctx, source, target)
	}}, nil
}

// startMillrace runs the program.
func (s *Setting) startMillrace(ctx context.Context, source, target *server.Database) (*live, error) {
	if s.Millrace == nil {
		return nil, &contest.Absent{Reason: s.MillraceAbsent.Error()}
	}
	process, err := s.Millrace.Replicate(ctx, source.URL(), target.URL(), true)
	if err != nil {
		return nil, err
	}
	return &live{pid: process.PID(), ended: process.Ended(), stop: func() (contest.Measurement, error) {
		used, err := process.Stop()
		return memory(used), err
	}}, nil
}

// startHand replicates in the harness with the fewest requests there can be.
func (s *Setting) startHand(ctx context.Context, source, target *server.Database) (*live, error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		failed = source.Follow(ctx, func(row server.Row) error { return carry(ctx, source, target, row) })
	}()
	return &live{pid: os.Getpid(), ended: ended, stop: func() (contest.Measurement, error) {
		cancel()
		<-ended
		if errors.Is(failed, context.Canceled) {
			return nil, nil
		}
		return nil, fmt.Errorf("replicate by hand: %w", failed)
	}}, nil
}

// carry copies one changed document from source to target.
func carry(ctx context.Context, source, target *server.Database, row server.Row) error {
	doc, err := source.Read(ctx, row.ID, row.Rev)
	if err != nil {
		return err
	}
	body := append([]byte(`{"new_edits":false,"docs":[`), doc...)
	return target.WriteBulk(ctx, append(body, ']', '}'))
}

// memory returns what a process took of it.
func memory(used millrace.Usage) contest.Measurement {
	if used.PeakRSS == 0 {
		return nil
	}
	return contest.Measurement{peakRSS.Name: float64(used.PeakRSS) / 1e6}
}
