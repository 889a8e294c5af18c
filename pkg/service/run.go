package service

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/broker"
	"millrace/pkg/pause"
)

// Service is a service of the pipeline: it runs until ctx ends.
type Service func(ctx context.Context, env *Env) error

const (
	restartAfter    = 250 * time.Millisecond
	restartAfterMax = 30 * time.Second
	// soundFor is how long a service must have run for its failure not to count with
	// those before.
	soundFor = time.Minute
)

// Supervise runs a service until ctx ends, again after each failure. What a service
// needs to know is in the broker and in the databases (invariant 6).
func Supervise(ctx context.Context, log *slog.Logger, name string, run func(ctx context.Context) error) {
	for delay := restartAfter; ; {
		began := time.Now()
		err := run(ctx)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				log.WarnContext(ctx, "service did not stop cleanly", "service", name, "error", err)
			}
			return
		}
		if time.Since(began) > soundFor {
			delay = restartAfter
		}
		log.ErrorContext(ctx, "service failed and is started again", "service", name, "error", err, "after", delay)
		if pause.For(ctx, delay) != nil {
			return
		}
		delay = min(2*delay, restartAfterMax)
	}
}

// Guarded is the service that ends, with [broker.ErrDiskLost], when the broker has lost its
// disk: what it knows of jobs, feeds and endpoints is then of another life, and whoever runs
// it starts it anew.
func Guarded(run Service) Service {
	return func(ctx context.Context, env *Env) error {
		birth, err := env.Broker.Birth(ctx)
		if err != nil {
			return err
		}
		err = Together(ctx,
			func(ctx context.Context) error { return run(ctx, env) },
			func(ctx context.Context) error { return env.Broker.AwaitLoss(ctx, birth) })
		if errors.Is(err, broker.ErrDiskLost) {
			env.Pool.Close() // versions of endpoints begin anew, too
		}
		return err
	}
}

// Together runs the parts of a service until ctx ends or one of them fails, and waits
// for all of them.
func Together(ctx context.Context, parts ...func(ctx context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	return group.Wait()
}
