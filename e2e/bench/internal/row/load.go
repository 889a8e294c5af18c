package row

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/millrace"
	"millrace/e2e/bench/internal/server"
)

// load is the initial load of one target, of whatever goods.
type load struct {
	*Setting
	name, doc, title string
	rate             contest.Column // in which the goods' amount counts
	// far puts the setting's round trip between the two sides.
	far  bool
	make func() (goods, error)
}

// goods are what a load moves, together with the fewest requests that move it.
type goods interface {
	// how says which requests those are.
	how() string
	// amount is how much it is, in the unit of the row's rate per second.
	amount() float64
	// docs is how many documents it is.
	docs() int
	// read hands out everything and discards it, inFlight requests at a time.
	read(ctx context.Context, source *server.Database, inFlight int) error
	// write takes in everything, inFlight requests at a time.
	write(ctx context.Context, target *server.Database, inFlight int) error
	// arrived fails unless the target holds what the source does.
	arrived(ctx context.Context, source, target *server.Database) error
}

// bareCPUName is the contestant that is a calculation.
const bareCPUName = "bare CPU"

// The quantities that only loads measure.
var (
	wall = contest.Column{Name: "wall", Unit: "s", Decimals: 2}

	changesWall = contest.Column{Name: "changes alone", Unit: "s", Decimals: 2, Detail: true}
	changesCPU  = contest.Column{Name: "changes CPU", Unit: "s", Decimals: 2, Detail: true}
	readWall    = contest.Column{Name: "reading alone", Unit: "s", Decimals: 2, Detail: true}
	readCPU     = contest.Column{Name: "reading CPU", Unit: "s", Decimals: 2, Detail: true}
	writeWall   = contest.Column{Name: "writing alone", Unit: "s", Decimals: 2, Detail: true}
	writeCPU    = contest.Column{Name: "writing CPU", Unit: "s", Decimals: 2, Detail: true}
)

func (l *load) Name() string  { return l.name }
func (l *load) Doc() string   { return l.doc }
func (l *load) Title() string { return l.title }

func (l *load) Columns() []contest.Column {
	return []contest.Column{wall, l.rate, sourceCPU, targetCPU, serversCPU, clientCPU, machineCPU, peakRSS,
		changesWall, changesCPU, readWall, readCPU, writeWall, writeCPU}
}

func (*load) Baselines() []string { return []string{bareName, bareCPUName, ownName} }

// Prepare fills a source, and puts a distance between it and the target if the row
// has one.
func (l *load) Prepare(ctx context.Context) (contest.Round, error) {
	goods, err := l.make()
	if err != nil {
		return nil, fmt.Errorf("make what is to be replicated: %w", err)
	}
	round := &loadRound{load: l, goods: goods, road: road{target: l.Target}}
	if l.far {
		if round.road, err = newRoad(l.Target, l.RTT); err != nil {
			return nil, err
		}
	}
	if round.source, err = l.Source.Fresh(ctx, "source"); err != nil {
		return nil, errors.Join(fmt.Errorf("make source: %w", err), round.road.close())
	}
	if err := goods.write(ctx, round.source, l.InFlight); err != nil {
		return nil, fmt.Errorf("fill source: %w", errors.Join(err, round.Close(ctx)))
	}
	return round, nil
}

// loadRound is one run: a full source, and a fresh target for each contestant.
type loadRound struct {
	*load
	goods  goods
	road   road
	source *server.Database
}

func (r *loadRound) Close(ctx context.Context) error {
	return errors.Join(r.source.Drop(ctx), r.road.close())
}

func (r *loadRound) Contestants() []contest.Contestant {
	reach, written := "", r.InFlight
	if r.far {
		reach = fmt.Sprintf(", which it reaches at a round trip of %v", r.RTT)
		written = r.FarInFlight
	}
	all := []contest.Contestant{
		{Name: bareName, Measure: r.bare, Doc: fmt.Sprintf("the limit, measured: a client that does nothing else reads the source (_changes?style=all_docs&seq_interval=%d once, and "+
			"%s, discarding the answers) and at the same time writes the same, prepared beforehand, to the target%s; "+
			"%d requests in flight at the source, %d at the target. It is a pipeline without a pipe: nothing passes from one side to the other, nothing waits",
			seqInterval, r.goods.how(), reach, r.InFlight, written)},
		{Name: bareCPUName, Measure: r.bareCPU, Doc: fmt.Sprintf("the limit, calculated: the same three pieces of work one after the other, each alone; "+
			"wall is the sum of the servers' CPU time over the %d cores that they share, without the client's own. Local servers only", r.Cores)},
		{Name: ownName, Measure: r.own, Doc: "the source's own replicator: POST /_replicate at the source, one-shot, until it answers" + also("the target is one", reach)},
		{Name: ourName, Measure: r.millrace, Doc: "millrace replicate SOURCE TARGET --json, from the start of the process to its exit" + also("the target is one", reach)},
	}
	if r.far {
		all = append(all, contest.Contestant{Name: servicesName, Measure: r.services, Doc: fmt.Sprintf("millrace as services: the broker and the services of the source's side beside the source, "+
			"revs-diff and bulk-writer beside the target, and the broker at a round trip of %v from these; from the start of millrace replicate --nats to its exit. The services were running. "+
			"CPU and RSS are those of all its processes", r.RTT)})
	}
	return all
}

// also appends a remark to a sentence, if there is one.
func also(what, remark string) string {
	if remark == "" {
		return ""
	}
	return "; " + what + remark
}

// bare reads and writes at the same time, as a perfect pipeline would.
func (r *loadRound) bare(ctx context.Context) (contest.Measurement, error) {
	return r.turn(ctx, func(target *server.Database) (contest.Measurement, time.Duration, error) {
		return r.meteredHarness(func() error {
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return readChanges(ctx, r.source, r.goods.docs()) })
			group.Go(func() error { return r.goods.read(ctx, r.source, r.InFlight) })
			group.Go(func() error { return r.goods.write(ctx, r.road.to(target), r.road.inFlight(r.Setting)) })
			return group.Wait()
		})
	})
}

// bareCPU does each of the three pieces of work alone, and without a distance,
// which costs no CPU time.
func (r *loadRound) bareCPU(ctx context.Context) (contest.Measurement, error) {
	if !r.Usage.Local() {
		return nil, &contest.Absent{Reason: "the servers' CPU time cannot be read: not both are processes of this machine"}
	}
	return r.turn(ctx, func(target *server.Database) (contest.Measurement, time.Duration, error) {
		sum := contest.Measurement{}
		for _, part := range []struct {
			wall, cpu contest.Column
			work      func() error
		}{
			{changesWall, changesCPU, func() error { return readChanges(ctx, r.source, r.goods.docs()) }},
			{readWall, readCPU, func() error { return r.goods.read(ctx, r.source, r.InFlight) }},
			{writeWall, writeCPU, func() error { return r.goods.write(ctx, target, r.InFlight) }},
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
func (r *loadRound) own(ctx context.Context) (contest.Measurement, error) {
	if err := r.hasReplicator(ctx); err != nil {
		return nil, err
	}
	return r.turn(ctx, func(target *server.Database) (contest.Measurement, time.Duration, error) {
		return r.metered(func() error { return r.Source.Replicate(ctx, r.source, r.road.to(target), nil) })
	})
}

// millrace runs the program.
func (r *loadRound) millrace(ctx context.Context) (contest.Measurement, error) {
	if r.Millrace == nil {
		return nil, &contest.Absent{Reason: r.MillraceAbsent.Error()}
	}
	return r.turn(ctx, func(target *server.Database) (contest.Measurement, time.Duration, error) {
		var used millrace.Usage
		m, took, err := r.metered(func() error {
			process, err := r.Millrace.Replicate(ctx, r.source.URL(), r.road.to(target).URL(), false)
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
// afterwards that everything arrived: an incomplete load has no time.
func (r *loadRound) turn(ctx context.Context, run func(*server.Database) (contest.Measurement, time.Duration, error)) (contest.Measurement, error) {
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
		m[r.rate.Name] = r.goods.amount() / took.Seconds()
		return r.goods.arrived(ctx, r.source, target)
	})
	return m, err
}
