package row

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/corpus"
	"millrace/e2e/bench/internal/millrace"
	"millrace/e2e/bench/internal/server"
)

// targetShards is how many shards a target has of several: what is measured is not what a server takes for
// thousands of them.
const targetShards = 1

// fan is the initial load of several targets at once, from one source.
type fan struct {
	*Setting
	name, doc string
	targets   int
	// chosen gives each target what is its owner's; else it gets everything.
	chosen bool
	// goal is where DESIGN section 9 wants to be, of the documents that it has in mind.
	goal string
}

// The numbers of targets, of DESIGN section 9.
const fullTargets = 4

func full(s *Setting) contest.Row {
	return &fan{Setting: s, name: "full-4", targets: fullTargets, goal: "19 s", doc: "four targets at once, each of which gets everything"}
}

func selectors(s *Setting) (rows []contest.Row) {
	for _, r := range []struct {
		targets int
		goal    string
	}{{20, "4.5 s"}, {200, "8 s"}, {1000, ""}} {
		rows = append(rows, &fan{
			Setting: s, name: fmt.Sprintf("selectors-%d", r.targets), targets: r.targets, chosen: true, goal: r.goal,
			doc: fmt.Sprintf("%d targets at once, each of which gets what its Mango selector chooses", r.targets),
		})
	}
	return rows
}

func (f *fan) Name() string      { return f.name }
func (f *fan) Doc() string       { return f.doc }
func (*fan) Baselines() []string { return []string{bareName, ownName} }
func (f *fan) owners() int       { return max(1, f.Docs/max(1, f.OwnerDocs)) }
func (f *fan) aims() bool {
	return f.goal != "" && f.Docs == 50000 && f.Size == 1000 && f.OwnerDocs == 50
}

// number is how many targets there are: no more than owners.
func (f *fan) number() int {
	if f.chosen {
		return min(f.targets, f.owners())
	}
	return f.targets
}

func (f *fan) Title() string {
	gets := "everything"
	if f.chosen {
		gets = fmt.Sprintf("the %d documents of an owner", f.Docs/f.owners())
	}
	title := fmt.Sprintf("%d targets, each of which gets %s of %d documents of %d bytes", f.number(), gets, f.Docs, f.Size)
	if f.aims() {
		title += "; the goal is " + f.goal
	}
	return title
}

func (*fan) Columns() []contest.Column {
	return []contest.Column{wall, docsPerSecond, sourceCPU, targetCPU, serversCPU, clientCPU, machineCPU, peakRSS}
}

// Prepare fills a source.
func (f *fan) Prepare(ctx context.Context) (contest.Round, error) {
	made := corpus.NewOwned(f.Seed, f.Docs, f.Size, f.Batch, f.OwnerDocs)
	round := &fanRound{fan: f, owned: made, all: &documents{corpus: made.Corpus}}
	var err error
	if round.source, err = f.Source.Fresh(ctx, "source"); err != nil {
		return nil, fmt.Errorf("make source: %w", err)
	}
	if err := round.all.write(ctx, round.source, f.InFlight); err != nil {
		return nil, fmt.Errorf("fill source: %w", errors.Join(err, round.Close(ctx)))
	}
	return round, nil
}

// fanRound is one run: a full source, and fresh targets for each contestant.
type fanRound struct {
	*fan
	owned  *corpus.Owned
	all    *documents
	source *server.Database
}

func (r *fanRound) Close(ctx context.Context) error { return r.source.Drop(ctx) }

func (r *fanRound) Contestants() []contest.Contestant {
	return []contest.Contestant{
		{Name: bareName, Measure: r.bare, Doc: fmt.Sprintf("the limit, measured: a client that does nothing else reads the source once (_changes?style=all_docs&seq_interval=%d, and "+
			"%s, discarding the answers) and at the same time writes to every target what it gets, prepared beforehand; %d requests in flight on each side",
			seqInterval, r.all.how(), r.InFlight)},
		{Name: ownName, Measure: r.own, Doc: fmt.Sprintf("the source's own replicator: as many POST /_replicate at once, one-shot, with a selector where there is one, until all have answered; of up to %d targets", r.OwnTargets)},
		{Name: ourName, Measure: r.millrace, Doc: "millrace replicate --document FILE --json, with all of them as targets, from the start of the process to its exit"},
	}
}

// selector is what a target gets; nil for everything.
func (r *fanRound) selector(target int) json.RawMessage {
	if !r.chosen {
		return nil
	}
	return fmt.Appendf(nil, `{"owner":%q}`, corpus.Owner(target))
}

// batches are the requests that write what a target gets.
func (r *fanRound) batches(target int) []corpus.Batch {
	if r.chosen {
		return r.owned.Owners[target : target+1]
	}
	return r.owned.Batches
}

// bare reads and writes at the same time, as a perfect pipeline would.
func (r *fanRound) bare(ctx context.Context) (contest.Measurement, error) {
	return r.turn(ctx, func(targets []*server.Database) (contest.Measurement, time.Duration, error) {
		return r.meteredHarness(func() error {
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return readChanges(ctx, r.source, r.Docs) })
			group.Go(func() error { return r.all.read(ctx, r.source, r.InFlight) })
			group.Go(func() error { return r.write(ctx, targets) })
			return group.Wait()
		})
	})
}

// write writes to each target what it gets.
func (r *fanRound) write(ctx context.Context, targets []*server.Database) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.InFlight)
	for i, target := range targets {
		for _, batch := range r.batches(i) {
			group.Go(func() error {
				if err := target.WriteBulk(ctx, batch.Write); err != nil {
					return fmt.Errorf("write documents: %w", err)
				}
				return nil
			})
		}
	}
	return group.Wait()
}

// own has the source replicate.
func (r *fanRound) own(ctx context.Context) (contest.Measurement, error) {
	if err := r.hasReplicator(ctx); err != nil {
		return nil, err
	}
	if r.number() > r.OwnTargets {
		return nil, &contest.Absent{Reason: fmt.Sprintf("it would take minutes: -own-targets %d has it measured", r.number())}
	}
	return r.turn(ctx, func(targets []*server.Database) (contest.Measurement, time.Duration, error) {
		return r.metered(func() error {
			group, ctx := errgroup.WithContext(ctx)
			for i, target := range targets {
				group.Go(func() error { return r.Source.Replicate(ctx, r.source, target, r.selector(i)) })
			}
			return group.Wait()
		})
	})
}

// millrace runs the program.
func (r *fanRound) millrace(ctx context.Context) (contest.Measurement, error) {
	if r.Millrace == nil {
		return nil, &contest.Absent{Reason: r.MillraceAbsent.Error()}
	}
	return r.turn(ctx, func(targets []*server.Database) (contest.Measurement, time.Duration, error) {
		path, err := r.document(targets)
		if err != nil {
			return nil, 0, err
		}
		defer func() { _ = os.Remove(path) }() // where it cannot be removed, the next boot does
		var used millrace.Usage
		m, took, err := r.metered(func() error {
			process, err := r.Millrace.ReplicateDocument(ctx, path, r.source.URL(), targets[0].URL())
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

// document writes the replication document, which has the servers' passwords, for nobody else to read.
func (r *fanRound) document(targets []*server.Database) (path string, err error) {
	type entry struct {
		Target   string          `json:"target"`
		Selector json.RawMessage `json:"selector,omitempty"`
	}
	entries := make([]entry, len(targets))
	for i, target := range targets {
		entries[i] = entry{target.URL(), r.selector(i)}
	}
	text, err := json.Marshal(map[string]any{"source": r.source.URL(), "targets": entries})
	if err != nil {
		return "", err
	}
	file, err := os.CreateTemp("", "millrace-bench-*.json")
	if err != nil {
		return "", fmt.Errorf("write the document: %w", err)
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("write the document: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return file.Name(), nil
}

// turn gives a contestant fresh targets and servers at rest, and checks afterwards that everything
// arrived.
func (r *fanRound) turn(ctx context.Context, run func([]*server.Database) (contest.Measurement, time.Duration, error)) (contest.Measurement, error) {
	var m contest.Measurement
	err := r.withTargets(ctx, r.number(), func(targets []*server.Database) error {
		if err := r.settle(ctx); err != nil {
			return err
		}
		var took time.Duration
		var err error
		if m, took, err = run(targets); err != nil {
			return err
		}
		moved := 0
		for i, target := range targets {
			want := 0
			for _, batch := range r.batches(i) {
				want += batch.Docs
			}
			if err := complete(ctx, target, want); err != nil {
				return err
			}
			moved += want
		}
		m[wall.Name] = took.Seconds()
		m[docsPerSecond.Name] = float64(moved) / took.Seconds()
		return nil
	})
	return m, err
}

// withTargets makes databases on the target, has work use them and removes them.
func (s *Setting) withTargets(ctx context.Context, n int, work func([]*server.Database) error) (err error) {
	targets := make([]*server.Database, n)
	defer func() {
		err = errors.Join(err, s.several(n, func(i int) error {
			if targets[i] == nil {
				return nil
			}
			return targets[i].Drop(ctx)
		}))
	}()
	err = s.several(n, func(i int) (err error) {
		targets[i], err = s.Target.FreshOf(ctx, "target", targetShards)
		return err
	})
	if err != nil {
		return fmt.Errorf("make targets: %w", err)
	}
	return work(targets)
}

// several does something n times, some of them at once, all of them whatever happens to one.
func (s *Setting) several(n int, do func(i int) error) error {
	errs := make([]error, n)
	var group errgroup.Group
	group.SetLimit(max(1, s.InFlight))
	for i := range n {
		group.Go(func() error {
			errs[i] = do(i)
			return nil
		})
	}
	_ = group.Wait() // the errors are in their places
	return errors.Join(errs...)
}
