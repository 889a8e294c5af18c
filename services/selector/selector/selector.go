// Package selector is the stage that decides for every job of a feed which rows
// of a batch it wants, and records what it decided.
package selector

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/endpoint"
	"millrace/pkg/filter"
	"millrace/pkg/rounds"
	"millrace/pkg/stage"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

// Name of the stage, in events, traces and logs.
const Name = "selector"

// waiting is how many batches of one feed wait here: more than a reader is ahead of
// the newest one that is routed. A batch that was put back for want of room would
// find none when it comes back either, for as long as the feed is busy: newer ones take it,
// the reader goes on behind them, and the watermark stands.
const waiting = 64

// replays is how many jobs may have their batches routed again at once. Each waits for room most of the
// time, and those of a feed that begin together read its documents once.
const replays = 256

// Service routes batches to jobs. Any number of instances may run.
type Service struct {
	stage     *stage.Stage
	feeds     *directory.Feeds
	pool      *endpoint.Pool
	rosters   *rosters
	functions *filter.Functions
	store     *store
	rounds    rounds.Rounds[batchKey, *member, together]
	logged    logged
	// pace and functionPace are of jobs that are slow to take what they get, and to decide.
	pace, functionPace *pace
}

// New registers the stage's handlers; the stage's Run starts them.
func New(s *stage.Stage, feeds *directory.Feeds, jobs *directory.Jobs, pool *endpoint.Pool, functions *filter.Functions) (*Service, error) {
	svc := &Service{
		stage: s, feeds: feeds, pool: pool, rosters: newRosters(jobs), functions: functions, store: newStore(keptBytes),
		pace: newPace(time.Now), functionPace: newPace(time.Now),
	}
	svc.logged.svc = svc
	b := s.Broker()
	batches := stage.Input{
		Stream: b.Streams().Changes, Filter: b.Subjects().Changes(broker.Any),
		Durable: Name, InFlight: 32, Waiting: waiting,
	}
	if err := stage.Consume(s, batches, svc.route); err != nil {
		return nil, err
	}
	replays := stage.Input{
		Stream: b.Streams().Replay, Filter: b.Subjects().Replay(broker.Any),
		Durable: Name + "-replay", InFlight: replays, InOrder: true,
	}
	return svc, stage.Consume(s, replays, svc.replay)
}

// route sends each job of the feed what it wants of a batch, and then records
// that it did: a batch that is not recorded is delivered again (invariant 1).
func (svc *Service) route(ctx context.Context, b *millracev1.ChangesBatch) error {
	ctx = telemetry.WithScope(ctx, telemetry.Scope{Feed: b.Feed, Epoch: b.Epoch, Ordinal: b.Ordinal})
	feed, roster, err := svc.feeds.At(ctx, b.Feed, b.Roster)
	if err != nil {
		return err
	}
	v, err := svc.rosters.of(ctx, feed, roster)
	if err != nil {
		return err
	}
	r := &millracev1.Routed{
		Feed: b.Feed, Epoch: b.Epoch, Ordinal: b.Ordinal, Roster: v.revision,
		Seq: b.Seq, End: b.End, Rows: uint64(len(b.Rows)), Pending: b.Pending,
	}
	orders, passed, err := svc.choose(ctx, v, b)
	if err != nil {
		return err
	}
	if r.Named, r.Skipped, err = svc.deliver(ctx, orders, v.present()-len(passed) > len(orders)); err != nil {
		return err
	}
	for _, m := range passed {
		r.Skipped = append(r.Skipped, routedJob(m.entry))
	}
	id := fmt.Sprintf("%s.%d.%d.%d", b.Feed, b.Epoch, b.Ordinal, v.revision)
	return svc.stage.Publish(ctx, svc.stage.Broker().Subjects().Routed(b.Feed), id, r)
}

// choose decides what each member gets. Those that cannot be decided for now are passed over.
func (svc *Service) choose(ctx context.Context, v *view, b *millracev1.ChangesBatch) (orders []order, passed []*member, err error) {
	for _, m := range v.plain {
		if o := plainOrder(b, m); o != nil {
			orders = append(orders, *o)
		}
	}
	readers := v.readers()
	if len(readers) == 0 || len(b.Rows) == 0 {
		return orders, nil, nil
	}
	c, err := svc.look(ctx, v, nil, b)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, err
		}
		for _, m := range readers {
			if err := svc.report(ctx, b, m, err); err != nil {
				return nil, nil, err
			}
		}
		if len(v.plain) == 0 {
			return nil, nil, err // it comes again, and is decided when the source can be read
		}
		return orders, readers, nil
	}
	for _, m := range readers {
		if failure := c.failed[m]; failure != nil {
			if err := svc.report(ctx, b, m, failure); err != nil {
				return nil, nil, err
			}
		}
		if c.failed[m] != nil || c.slow[m] {
			passed = append(passed, m)
		} else if o := c.order(b, m); o != nil {
			orders = append(orders, *o)
		}
	}
	return orders, passed, nil
}

// look reads the documents of a batch, if they are not known, and decides on them: for all readers, or for
// one only.
func (svc *Service) look(ctx context.Context, v *view, alone *member, b *millracev1.ChangesBatch) (*choosing, error) {
	for _, row := range b.Rows {
		if strings.HasPrefix(row.Id, "_design/") {
			svc.functions.Changed(row.Id)
		}
	}
	db, err := svc.pool.DB(ctx, v.feed.Source)
	if err != nil {
		return nil, err
	}
	c := svc.newChoosing(v, alone, db)
	if len(v.members) == 1 {
		take := func(ctx context.Context, piece []*leaf) error {
			defer release(piece)
			return c.take(ctx, piece)
		}
		if err := read(ctx, db, b.Rows, take); err != nil {
			return nil, fmt.Errorf("read documents for filters: %w", err)
		}
		return c, c.out.settle(ctx, nil)
	}
	k := svc.store.of(batchKey{b.Feed, b.Ordinal})
	if err := k.take(ctx); err != nil {
		return nil, err
	}
	return c, svc.fromStore(ctx, k, c, b)
}

// fromStore decides on what is kept of a batch, which is read if it is not. The caller has k, and has it
// no more afterwards.
func (svc *Service) fromStore(ctx context.Context, k *kept, c *choosing, b *millracev1.ChangesBatch) (err error) {
	defer k.leave()
	if k.read {
		err = c.take(ctx, k.leaves)
	} else {
		err = svc.fill(ctx, k, c, b)
	}
	return c.out.settle(ctx, err)
}

// fill reads a batch and decides on it, and keeps what was read, if it is not too much: those who come for
// it meanwhile wait.
func (svc *Service) fill(ctx context.Context, k *kept, c *choosing, b *millracev1.ChangesBatch) error {
	size, fits := 0, true
	var leaves []*leaf
	err := read(ctx, c.db, b.Rows, func(ctx context.Context, piece []*leaf) error {
		for _, l := range piece {
			size += len(l.doc) + len(l.meta.ID) + leafBytes
		}
		if err := c.take(ctx, piece); err != nil {
			return err
		}
		leaves = append(leaves, piece...)
		if fits = fits && svc.store.fits(size); !fits {
			release(leaves)
			leaves = nil
		}
		return nil
	})
	if err != nil || !fits {
		svc.store.abandon(k)
	}
	if err != nil {
		return fmt.Errorf("read documents for filters: %w", err)
	}
	if fits {
		k.leaves, k.read = leaves, true
		svc.store.filled(k, size)
	}
	return nil
}

// release lets go of documents that were decided on: those that somebody wants stand in BODIES by now.
func release(leaves []*leaf) {
	for _, l := range leaves {
		l.doc, l.seen = nil, nil
	}
}

// leafBytes is about what a leaf takes in memory beside its document.
const leafBytes = 400

// plainOrder is what a member gets that decides on rows; nil for nothing.
func plainOrder(b *millracev1.ChangesBatch, m *member) *order {
	rows := b.Rows
	if !m.filter.WantsAll() {
		rows = nil
		for _, r := range b.Rows {
			if m.filter.WantsRow(r) {
				rows = append(rows, r)
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return &order{m.entry, selected(b, m.entry, rows)}
}

// order is what one job gets of a batch.
type order struct {
	entry *millracev1.RosterEntry
	batch *millracev1.SelectedBatch
}

func selected(b *millracev1.ChangesBatch, entry *millracev1.RosterEntry, rows []*millracev1.Row) *millracev1.SelectedBatch {
	return &millracev1.SelectedBatch{
		Position: &millracev1.Position{Job: entry.Job, Run: entry.Run, Feed: b.Feed, Epoch: b.Epoch, Ordinal: b.Ordinal},
		Rows:     rows,
	}
}

// deliver publishes the orders. A job whose subject stays full is passed over and
// lags; it replays the batch from the feed's log when it has room. But the feed is never ahead of
// its fastest job: while no job has room, deliver waits for one of them, unless there are others, that
// have nothing to do with the batch and wait for what comes behind it.
func (svc *Service) deliver(ctx context.Context, orders []order, others bool) (named, skipped []*millracev1.RoutedJob, err error) {
	if len(orders) == 1 && !others { // nobody else to wait for
		if err := svc.send(ctx, orders[0]); err != nil {
			return nil, nil, err
		}
		return []*millracev1.RoutedJob{routedJob(orders[0].entry)}, nil, nil
	}
	var full []order
	for _, o := range orders {
		err := svc.try(ctx, o)
		switch {
		case err == nil:
			named = append(named, routedJob(o.entry))
		case errors.Is(err, broker.ErrSubjectFull):
			full = append(full, o)
		default:
			return nil, nil, err
		}
	}
	if len(named) == 0 && len(full) > 0 && !others {
		first, err := svc.first(ctx, full)
		if err != nil {
			return nil, nil, err
		}
		named = append(named, routedJob(full[first].entry))
		full = append(full[:first:first], full[first+1:]...)
	}
	took, err := svc.wait(ctx, full)
	if err != nil {
		return nil, nil, err
	}
	for i, o := range full {
		if took[i] {
			named = append(named, routedJob(o.entry))
		} else {
			skipped = append(skipped, routedJob(o.entry))
		}
	}
	return named, skipped, nil
}

// wait waits a moment for jobs without room, but for those that were waited for in vain, and says which
// have taken their orders.
func (svc *Service) wait(ctx context.Context, orders []order) (took []bool, err error) {
	took = make([]bool, len(orders))
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var group errgroup.Group
	for i, o := range orders {
		if !svc.pace.keeps(o.entry.Job) {
			continue
		}
		group.Go(func() error {
			err := svc.send(waiting, o)
			switch {
			case err == nil:
				took[i] = true
				svc.pace.prompt(o.entry.Job)
			case ctx.Err() != nil || waiting.Err() == nil:
				return err
			default:
				svc.pace.late(o.entry.Job)
			}
			return nil
		})
	}
	return took, group.Wait()
}

// first waits until one of the jobs has taken its order, and returns its index.
func (svc *Service) first(ctx context.Context, orders []order) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		index int
		err   error
	}
	outcomes := make(chan outcome, len(orders))
	for i, o := range orders {
		go func() { outcomes <- outcome{i, svc.send(ctx, o)} }()
	}
	winner, failure := -1, error(nil)
	for range orders {
		o := <-outcomes
		if o.err == nil && winner < 0 {
			winner = o.index // another that got through as well has it twice, which is no harm
			cancel()
		} else if failure == nil {
			failure = o.err
		}
	}
	if winner < 0 {
		return 0, failure
	}
	return winner, nil
}

func (svc *Service) send(ctx context.Context, o order) error {
	return svc.stage.Publish(ctx, svc.subject(o.entry), stage.BatchID(o.batch.Position), o.batch)
}

func (svc *Service) try(ctx context.Context, o order) error {
	return svc.stage.Try(ctx, svc.subject(o.entry), stage.BatchID(o.batch.Position), o.batch)
}

func (svc *Service) subject(entry *millracev1.RosterEntry) string {
	return svc.stage.Broker().Subjects().Selected(entry.TargetSite, entry.Job)
}

func routedJob(entry *millracev1.RosterEntry) *millracev1.RoutedJob {
	return &millracev1.RoutedJob{Job: entry.Job, Run: entry.Run}
}
