package row

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/corpus"
	"millrace/e2e/bench/internal/millrace"
	"millrace/e2e/bench/internal/server"
)

// one is the initial load of one target.
type one struct {
	*Setting
}

// bareCPUName is the contestant that is a calculation.
const bareCPUName = "bare CPU"

// The quantities that only this row measures.
var (
	wall = contest.Column{Name: "wall", Unit: "s", Decimals: 2}

	changesWall = contest.Column{Name: "_changes alone", Unit: "s", Decimals: 2, Detail: true}
	changesCPU  = contest.Column{Name: "_changes CPU", Unit: "s", Decimals: 2, Detail: true}
	readWall    = contest.Column{Name: "_bulk_get alone", Unit: "s", Decimals: 2, Detail: true}
	readCPU     = contest.Column{Name: "_bulk_get CPU", Unit: "s", Decimals: 2, Detail: true}
	writeWall   = contest.Column{Name: "_bulk_docs alone", Unit: "s", Decimals: 2, Detail: true}
	writeCPU    = contest.Column{Name: "_bulk_docs CPU", Unit: "s", Decimals: 2, Detail: true}
)

func (*one) Name() string { return "one" }

func (*one) Doc() string {
	return "initial load of one target: from the start of a replication to its end, all documents durable on the target"
}

func (o *one) Title() string {
	return fmt.Sprintf("one target, %d documents of %d bytes", o.Docs, o.Size)
}

func (*one) Columns() []contest.Column {
	return []contest.Column{wall, docsPerSecond, sourceCPU, targetCPU, serversCPU, clientCPU, machineCPU, peakRSS,
		changesWall, changesCPU, readWall, readCPU, writeWall, writeCPU}
}

func (*one) Baselines() []string { return []string{bareName, bareCPUName, ownName} }

// Prepare fills a source.
func (o *one) Prepare(ctx context.Context) (contest.Round, error) {
	source, err := o.Source.Fresh(ctx, "source")
	if err != nil {
		return nil, fmt.Errorf("make source: %w", err)
	}
	round := &oneRound{one: o, source: source, corpus: corpus.New(o.Seed, o.Docs, o.Size, o.Batch)}
	if err := writeBodies(ctx, source, round.corpus, o.InFlight); err != nil {
		return nil, fmt.Errorf("fill source: %w", errors.Join(err, round.Close(ctx)))
	}
	return round, nil
}

// oneRound is one run: a full source, and a fresh target for each contestant.
type oneRound struct {
	*one
	source *server.Database
	corpus *corpus.Corpus
}

func (r *oneRound) Close(ctx context.Context) error { return r.source.Drop(ctx) }

func (r *oneRound) Contestants() []contest.Contestant {
	return []contest.Contestant{
		{Name: bareName, Measure: r.bare, Doc: fmt.Sprintf("the limit, measured: a client that does nothing else reads the source (_changes?style=all_docs&seq_interval=%d once, and "+
			"_bulk_get?revs=true&latest=true of everything, discarding the answers) and at the same time writes the same bodies, prepared beforehand, to the target (_bulk_docs, new_edits=false); "+
			"%d documents a request, %d requests in flight on each side. It is a pipeline without a pipe: nothing passes from one side to the other, nothing waits", seqInterval, r.Batch, r.InFlight)},
		{Name: bareCPUName, Measure: r.bareCPU, Doc: fmt.Sprintf("the limit, calculated: the same three pieces of work one after the other, each alone; "+
			"wall is the sum of the servers' CPU time over the %d cores that they share, without the client's own. Local servers only", r.Cores)},
		{Name: ownName, Measure: r.own, Doc: "the source's own replicator: POST /_replicate at the source, one-shot, until it answers"},
		{Name: ourName, Measure: r.millrace, Doc: "millrace replicate SOURCE TARGET --json, from the start of the process to its exit"},
	}
}

// bare reads and writes at the same time, as a perfect pipeline would.
func (r *oneRound) bare(ctx context.Context) (contest.Measurement, error) {
	return r.turn(ctx, func(target *server.Database) (contest.Measurement, time.Duration, error) {
		return r.meteredHarness(func() error {
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return readChanges(ctx, r.source, r.corpus) })
			group.Go(func() error { return readBodies(ctx, r.source, r.corpus, r.InFlight) })
			group.Go(func() error { return writeBodies(ctx, target, r.corpus, r.InFlight) })
			return group.Wait()
		})
	})
}

// bareCPU does each of the three pieces of work alone.
func (r *oneRound) bareCPU(ctx context.Context) (contest.Measurement, error) {
	if !r.Usage.Local() {
		return nil, &contest.Absent{Reason: "the servers' CPU time cannot be read: not both are processes of this machine"}
	}
	return r.turn(ctx, func(target *server.Database) (contest.Measurement, time.Duration, error) {
		sum := contest.Measurement{}
		for _, part := range []struct {
			wall, cpu contest.Column
			work      func() error
		}{
			{changesWall, changesCPU, func() error { return readChanges(ctx, r.source, r.corpus) }},
			{readWall, readCPU, func() error { return readBodies(ctx, r.source, r.corpus, r.InFlight) }},
			{writeWall, writeCPU, func() error { return writeBodies(ctx, target, r.corpus, r.InFlight) }},
		} {
			m, took, err := r.meteredHarness(part.work)
			if err != nil {
				return nil, 0, err
			}
			for _, c := range []contest.Column{sourceCPU, targetCPU, serversCPU, clientCPU, machineCPU} {
				sum[c.Name] += m[c.Name]
			}
			sum[part.wall.Name], sum[part.cpu.Name] = took.Seconds(), m[serversCPU.Name]
		}
		calculated := time.Duration(sum[serversCPU.Name] / float64(r.Cores) * float64(time.Second))
		return sum, calculated, nil
	})
}

// own has the source replicate.
func (r *oneRound) own(ctx context.Context) (contest.Measurement, error) {
	if err := r.hasReplicator(ctx); err != nil {
		return nil, err
	}
	return r.turn(ctx, func(target *server.Database) (contest.Measurement, time.Duration, error) {
		return r.metered(func() error { return r.Source.Replicate(ctx, r.source, target) })
	})
}

// millrace runs the program.
func (r *oneRound) millrace(ctx context.Context) (contest.Measurement, error) {
	if r.Millrace == nil {
		return nil, &contest.Absent{Reason: r.MillraceAbsent.Error()}
	}
	return r.turn(ctx, func(target *server.Database) (contest.Measurement, time.Duration, error) {
		var used millrace.Usage
		m, took, err := r.metered(func() error {
			process, err := r.Millrace.Replicate(ctx, r.source.URL(), target.URL(), false)
			if err != nil {
				return err
			}
			used, err = process.Wait()
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		m[clientCPU.Name] = used.CPU.Seconds()
		return m.With(memory(used)), took, nil
	})
}

// turn gives a contestant a fresh target and servers at rest, and checks
// afterwards that all documents arrived: an incomplete load has no time.
func (r *oneRound) turn(ctx context.Context, run func(*server.Database) (contest.Measurement, time.Duration, error)) (contest.Measurement, error) {
	var m contest.Measurement
	err := r.withTarget(ctx, func(target *server.Database) error {
		if err := r.settle(ctx); err != nil {
			return err
		}
		var took time.Duration
		var err error
		if m, took, err = run(target); err != nil {
			return err
		}
		m[wall.Name] = took.Seconds()
		m[docsPerSecond.Name] = float64(r.Docs) / took.Seconds()
		return complete(ctx, target, r.Docs)
	})
	return m, err
}
