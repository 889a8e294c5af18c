package row

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/corpus"
	"millrace/e2e/bench/internal/sample"
	"millrace/e2e/bench/internal/server"
)

// latency is the time from a write at the source to its appearance at the
// target, under continuous replication of an otherwise quiet database.
type latency struct {
	*Setting
}

const (
	// canaryTime is how long a continuous replication may take to get going.
	canaryTime = 60 * time.Second
	// changeTime is how long a single change may take to arrive.
	changeTime = 30 * time.Second
	// warmUps are changes whose latency is not counted.
	warmUps = 5
	// longestPause bounds the random pause between two changes, so that they
	// do not fall in step with a replicator's timers.
	longestPause = 40 * time.Millisecond
)

// The quantities that only this row measures.
var (
	median    = contest.Column{Name: "median", Unit: "ms", Decimals: 2}
	p99       = contest.Column{Name: "p99", Unit: "ms", Decimals: 2}
	slowest   = contest.Column{Name: "slowest", Unit: "ms", Decimals: 2}
	writeTime = contest.Column{Name: "write itself", Unit: "ms", Decimals: 2}
)

func (*latency) Name() string { return "latency" }

func (*latency) Doc() string {
	return "a single change under continuous replication: from sending the PUT to the source until the row stands in the target's continuous _changes, followed by the harness"
}

func (l *latency) Title() string {
	return fmt.Sprintf("latency of %d single changes, documents of %d bytes, write sent to visible", l.Changes, l.Size)
}

func (*latency) Columns() []contest.Column {
	return []contest.Column{median, p99, slowest, writeTime, sourceCPU, targetCPU, serversCPU, clientCPU, machineCPU, peakRSS}
}

func (*latency) Baselines() []string { return []string{bareName, ownName} }

// Prepare has nothing to do: every contestant gets a pair of its own, for the
// changes of one must not be the backlog of the next.
func (l *latency) Prepare(context.Context) (contest.Round, error) {
	return &latencyRound{l}, nil
}

// latencyRound is one run.
type latencyRound struct {
	*latency
}

func (*latencyRound) Close(context.Context) error { return nil }

func (r *latencyRound) Contestants() []contest.Contestant {
	return []contest.Contestant{
		{Name: bareName, Measure: r.turn(r.startHand), Doc: "the limit: replication by hand, in the harness: row of the source's continuous _changes, one _bulk_get, one _bulk_docs with new_edits=false, " +
			"nothing else. Its client CPU holds the harness's own writing and watching, too"},
		{Name: ownName, Measure: r.turn(r.startOwn), Doc: "the source's own replicator: POST /_replicate at the source, continuous"},
		{Name: ourName, Measure: r.turn(r.startMillrace), Doc: "millrace replicate SOURCE TARGET --json --continuous; stopped with SIGINT"},
	}
}

// turn gives a contestant an empty pair and servers at rest, has it replicate
// continuously and measures single changes.
func (r *latencyRound) turn(start starter) func(context.Context) (contest.Measurement, error) {
	return func(ctx context.Context) (contest.Measurement, error) {
		var m contest.Measurement
		err := r.withPair(ctx, func(source, target *server.Database) error {
			if err := r.settle(ctx); err != nil {
				return err
			}
			var err error
			m, err = r.race(ctx, source, target, start)
			return err
		})
		return m, err
	}
}

// race starts the replication, measures, and stops it.
func (r *latencyRound) race(ctx context.Context, source, target *server.Database, start starter) (m contest.Measurement, err error) {
	arrivals := watch(ctx, target)
	defer arrivals.stop()
	live, err := start(ctx, source, target)
	if err != nil {
		return nil, err
	}
	defer func() {
		last, stopErr := live.stop()
		err = errors.Join(err, stopErr)
		if err == nil {
			m = m.With(last)
		}
	}()
	changes := &changes{source: source, arrivals: arrivals, ended: live.ended, size: r.Size,
		random: rand.New(rand.NewPCG(r.Seed, 1))}
	if _, err := changes.make(ctx, "canary", canaryTime); err != nil {
		return nil, err
	}
	if _, err := changes.series(ctx, "warm-up", warmUps); err != nil {
		return nil, err
	}
	var timed []timing
	work := func() (err error) {
		timed, err = changes.series(ctx, "change", r.Changes)
		return err
	}
	if live.pid == 0 {
		m, _, err = r.metered(work)
	} else {
		m, _, err = r.meteredClient(live.pid, work)
	}
	if err != nil {
		return nil, err
	}
	return m.With(summarize(timed)), nil
}

// summarize turns the timings of one turn into its measurement.
func summarize(timed []timing) contest.Measurement {
	arrived, written := make([]float64, len(timed)), make([]float64, len(timed))
	for i, t := range timed {
		arrived[i], written[i] = milliseconds(t.arrived), milliseconds(t.written)
	}
	return contest.Measurement{
		median.Name:    sample.Percentile(arrived, 50),
		p99.Name:       sample.Percentile(arrived, 99),
		slowest.Name:   sample.Percentile(arrived, 100),
		writeTime.Name: sample.Percentile(written, 50),
	}
}

// milliseconds keeps the fraction.
func milliseconds(d time.Duration) float64 {
	return float64(d) / float64(time.Millisecond)
}

// changes makes single changes and times them.
type changes struct {
	source   *server.Database
	arrivals *arrivals
	ended    <-chan struct{} // closed if the replication ends by itself
	size     int
	random   *rand.Rand
}

// timing is what one change took, from the sending of its write.
type timing struct {
	written time.Duration // until the source had answered
	arrived time.Duration // until it was visible at the target
}

// series makes n changes one after the other, with a pause between them.
func (c *changes) series(ctx context.Context, name string, n int) ([]timing, error) {
	timed := make([]timing, 0, n)
	for i := range n {
		if err := pause(ctx, time.Duration(c.random.Int64N(int64(longestPause)))); err != nil {
			return nil, err
		}
		t, err := c.make(ctx, fmt.Sprintf("%s-%06d", name, i), changeTime)
		if err != nil {
			return nil, err
		}
		timed = append(timed, t)
	}
	return timed, nil
}

// make writes one document and waits for it at the target.
func (c *changes) make(ctx context.Context, id string, patience time.Duration) (timing, error) {
	body := append(append([]byte{'{'}, corpus.Fields(c.random, c.size)...), '}')
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s did not arrive within %v", id, patience))
	defer cancel()
	start := time.Now()
	if err := c.source.Put(ctx, id, body); err != nil {
		return timing{}, fmt.Errorf("write %s: %w", id, err)
	}
	written := time.Since(start)
	at, err := c.arrivals.await(ctx, id, c.ended)
	if err != nil {
		return timing{}, err
	}
	return timing{written: written, arrived: at.Sub(start)}, nil
}

// pause lets d pass.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
