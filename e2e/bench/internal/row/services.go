package row

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/corpus"
	"millrace/e2e/bench/internal/millrace"
	"millrace/e2e/bench/internal/server"
	"millrace/e2e/delayproxy"
)

// services runs the program as it is meant to be run over a distance: no request
// of HTTP crosses it, only what goes through the broker (invariant 3).
func (r *loadRound) services(ctx context.Context) (m contest.Measurement, err error) {
	if r.Millrace == nil {
		return nil, &contest.Absent{Reason: r.MillraceAbsent.Error()}
	}
	var link *delayproxy.Proxy
	defer func() {
		if link != nil {
			link.Close()
		}
	}()
	pipeline, err := r.Millrace.Pipeline(ctx, func(broker string) (string, error) {
		var err error
		if link, err = delayproxy.Start(broker); err != nil {
			return "", err
		}
		link.SetRTT(r.RTT)
		return link.Addr(), nil
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pipeline.Stop()) }()
	if err := r.warmUp(ctx, pipeline); err != nil {
		return nil, fmt.Errorf("wait for the services: %w", err)
	}
	return r.turn(ctx, func(target *server.Database) (contest.Measurement, time.Duration, error) {
		return r.replicateOn(ctx, pipeline, target)
	})
}

// warmUp replicates one document of a pair of its own: then all services are there.
func (r *loadRound) warmUp(ctx context.Context, pipeline *millrace.Pipeline) error {
	return r.withPair(ctx, func(source, target *server.Database) error {
		one := &documents{corpus: corpus.New(r.Seed, 1, corpus.MinSize, 1)}
		if err := one.write(ctx, source, 1); err != nil {
			return err
		}
		process, err := pipeline.Replicate(ctx, source.URL(), target.URL())
		if err != nil {
			return err
		}
		if _, err := process.Wait(); err != nil {
			return err
		}
		return one.arrived(ctx, source, target)
	})
}

// replicateOn has the services do the load.
func (r *loadRound) replicateOn(ctx context.Context, pipeline *millrace.Pipeline, target *server.Database) (contest.Measurement, time.Duration, error) {
	before, errBefore := r.FS.CPU(pipeline.PIDs())
	var used millrace.Usage
	m, took, err := r.metered(func() error {
		process, err := pipeline.Replicate(ctx, r.source.URL(), target.URL())
		if err != nil {
			return err
		}
		used, err = process.Wait()
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	after, errAfter := r.FS.CPU(pipeline.PIDs())
	if errBefore == nil && errAfter == nil {
		m[clientCPU.Name] = (after - before + used.CPU).Seconds()
	}
	if rss, err := pipeline.PeakRSS(); err == nil && used.PeakRSS > 0 {
		used.PeakRSS += rss
		m = m.With(memory(used))
	}
	return m, took, nil
}
