package replicator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/pause"
	"millrace/pkg/replication"
	"millrace/pkg/rounds"
	millracev1 "millrace/proto/millrace/v1"
)

// sweepDelay is how long an owner that is there has to end its run itself, before somebody
// else does; and the least time between two sweeps.
const sweepDelay = time.Second

// sweeper takes away what is left of runs that no owner ends: the job was removed while nobody
// owned it, or its owner died in the middle of ending a run. The feed of such a run would be
// read for ever.
//
// Every process sweeps, at its start and when a job went or may have changed hands. Sweeping
// needs no lease: what it takes away can never be of use again, whoever looks.
type sweeper struct {
	broker *broker.Broker
	jobs   *directory.Jobs
	feeds  *directory.Feeds
	log    *slog.Logger
	wanted chan struct{} // holds one
	// endings are of feeds, with the revisions in which they were found unused.
	endings rounds.Rounds[string, uint64, struct{}]
}

func newSweeper(b *broker.Broker, jobs *directory.Jobs, feeds *directory.Feeds, log *slog.Logger) *sweeper {
	return &sweeper{broker: b, jobs: jobs, feeds: feeds, log: log, wanted: make(chan struct{}, 1)}
}

// want has everything be swept soon.
func (s *sweeper) want() {
	select {
	case s.wanted <- struct{}{}:
	default: // it is wanted already
	}
}

// run sweeps at once and then whenever it is wanted, until ctx ends.
func (s *sweeper) run(ctx context.Context) {
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "leftovers of old runs were not swept; trying again", "error", err)
			s.want()
		}
		select {
		case <-s.wanted:
		case <-ctx.Done():
			return
		}
		if pause.For(ctx, sweepDelay) != nil {
			return
		}
	}
}

func (s *sweeper) sweep(ctx context.Context) error {
	live, err := s.sweepFeeds(ctx)
	if err != nil {
		return err
	}
	n, of := s.broker.Streams(), s.broker.Subjects()
	for job := range s.jobs.All() {
		live[broker.ReplayToken(job.Id)] = true // stands for a feed where bodies of replays are
	}
	return errors.Join(
		s.sweepOf(ctx, live, n.Routed, of.Routed(broker.Any)),
		s.sweepOf(ctx, live, n.Bodies, of.Bodies(broker.Any)),
		s.sweepProgress(ctx), s.sweepDone(ctx),
	)
}

// sweepFeeds takes runs that are over out of their feeds, ends the feeds that serve no run any
// more, and returns the others.
func (s *sweeper) sweepFeeds(ctx context.Context) (live map[string]bool, err error) {
	feeds, err := s.feeds.List(ctx)
	if err != nil {
		return nil, err
	}
	live = map[string]bool{}
	for _, f := range feeds {
		if f, err = s.prune(ctx, f); err != nil {
			return nil, err
		}
		if f.Value == nil {
			continue
		}
		if len(f.Value.Roster) > 0 {
			live[f.ID] = true
			continue
		}
		kept, err := s.endUnless(ctx, f, feeds)
		if err != nil {
			return nil, err
		}
		live[f.ID] = kept
	}
	return live, s.sweepSlots(ctx)
}

// prune takes out of a feed's roster what is over, and returns the feed as it is then, without a value
// if it is no more.
func (s *sweeper) prune(ctx context.Context, f directory.Listed[millracev1.Feed]) (directory.Listed[millracev1.Feed], error) {
	over := map[string]uint64{}
	for _, entry := range f.Value.Roster {
		is, err := s.over(ctx, entry)
		if err != nil {
			return f, err
		}
		if is {
			over[entry.Job] = entry.Run
		}
	}
	if len(over) == 0 {
		return f, nil
	}
	left, revision, err := s.feeds.Leave(ctx, f.ID, func(e *millracev1.RosterEntry) bool {
		run, is := over[e.Job]
		return is && e.Run <= run
	})
	f.Value, f.Revision = left, revision
	return f, err
}

// endUnused ends a feed that serves nobody, unless somebody is still to come.
func (s *sweeper) endUnused(ctx context.Context, f directory.Listed[millracev1.Feed]) error {
	_, err := s.endings.Do(ctx, f.ID, f.Revision, func(ctx context.Context, revisions []uint64) (struct{}, error) {
		feeds, err := s.feeds.List(ctx)
		if err != nil {
			return struct{}{}, err
		}
		f.Revision = slices.Max(revisions)
		_, err = s.endUnless(ctx, f, feeds)
		return struct{}{}, err
	})
	return err
}

// endUnless ends a feed without a roster unless somebody is still to come: runs that make a pass before
// they follow it, or jobs that were submitted together with those that had it.
func (s *sweeper) endUnless(ctx context.Context, f directory.Listed[millracev1.Feed], all []directory.Listed[millracev1.Feed]) (kept bool, err error) {
	for _, other := range all {
		if other.Value != nil && other.Value.Then == f.ID {
			return true, nil
		}
	}
	if f.Value.Together != "" {
		for job := range s.jobs.All() {
			if job.Together == f.Value.Together && !job.Active && job.State == string(replication.Initializing) {
				return true, nil
			}
		}
	}
	return false, s.end(ctx, f)
}

func (s *sweeper) end(ctx context.Context, f directory.Listed[millracev1.Feed]) error {
	err := s.feeds.RemoveAt(ctx, f.ID, f.Revision)
	if errors.Is(err, directory.ErrChanged) {
		return nil // a job has joined it, or somebody else has ended it
	}
	if err != nil {
		return err
	}
	s.log.DebugContext(ctx, "a feed that served no run any more was ended", "feed", f.ID)
	s.want() // stages may have had something of it in hand
	return clearFeed(ctx, s.broker, f.ID)
}

// sweepSlots removes slots whose feed is no more.
func (s *sweeper) sweepSlots(ctx context.Context) error {
	slots, err := s.feeds.Slots(ctx)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		_, _, err := s.feeds.Newest(ctx, slot.Value.Feed)
		if err == nil {
			continue
		}
		if !errors.Is(err, directory.ErrUnknown) {
			return err
		}
		if err := s.feeds.RemoveSlotAt(ctx, slot.ID, slot.Revision); err != nil && !errors.Is(err, directory.ErrChanged) {
			return err
		}
	}
	return nil
}

// over reports whether a run of a feed's roster is not under way, nor ever will be. A run
// is written into its job before its feed knows of it, and no run number is used twice (ADR 003): so
// a feed that was listed before its job was read, and found in another run, lists a run
// that is over. A job of which only the leader knows yet is not taken for one that is
// no more.
func (s *sweeper) over(ctx context.Context, entry *millracev1.RosterEntry) (bool, error) {
	if underWay(s.jobs.Known(entry.Job), entry.Run) {
		return false, nil
	}
	job, err := s.jobs.Newest(ctx, entry.Job)
	if err != nil && !errors.Is(err, directory.ErrUnknown) {
		return false, err
	}
	return !underWay(job, entry.Run), nil
}

// underWay reports whether the job, nil for none, is in that run.
func underWay(job *millracev1.Job, run uint64) bool {
	return job != nil && job.Active && job.Run == run
}

// gone reports whether there is no such job.
func (s *sweeper) gone(ctx context.Context, id string) (bool, error) {
	if s.jobs.Known(id) != nil {
		return false, nil
	}
	_, err := s.jobs.Newest(ctx, id)
	if errors.Is(err, directory.ErrUnknown) {
		return true, nil
	}
	return false, err
}

// sweepProgress removes what an owner stored of a job that was removed before, or meanwhile.
// That of a job of the same name that was made since has another revision.
func (s *sweeper) sweepProgress(ctx context.Context) error {
	all, err := s.jobs.ListProgress(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		gone, err := s.gone(ctx, p.ID)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		if err := s.jobs.ForgetAt(ctx, p.ID, p.Revision); err != nil && !errors.Is(err, directory.ErrChanged) {
			return err
		}
	}
	return nil
}

// sweepDone removes what stages recorded of a job that was removed: nobody reads it, and its
// log has no limit (invariant 5). What the job of the same name records that is made
// meanwhile stands behind it.
func (s *sweeper) sweepDone(ctx context.Context) error {
	stream := s.broker.Streams().Done
	subjects, err := s.broker.SubjectsIn(ctx, stream, s.broker.Subjects().Done(broker.Any))
	if err != nil {
		return err
	}
	for _, subject := range subjects {
		if s.jobs.Known(idIn(subject)) != nil {
			continue
		}
		last, err := s.broker.Last(ctx, stream, subject)
		if errors.Is(err, broker.ErrGone) {
			continue
		}
		if err != nil {
			return err
		}
		gone, err := s.gone(ctx, idIn(subject))
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		if err := s.broker.Purge(ctx, stream, subject, last.Sequence+1); err != nil {
			return err
		}
	}
	return nil
}

// sweepOf removes what stages wrote about a feed when it had been ended already.
func (s *sweeper) sweepOf(ctx context.Context, live map[string]bool, stream, about string) error {
	subjects, err := s.broker.SubjectsIn(ctx, stream, about)
	if err != nil {
		return err
	}
	for _, subject := range subjects {
		if live[idIn(subject)] {
			continue
		}
		_, _, err := s.feeds.Read(ctx, idIn(subject))
		if err == nil {
			continue
		}
		if !errors.Is(err, directory.ErrUnknown) {
			return err
		}
		if err := s.broker.Purge(ctx, stream, subject, math.MaxUint64); err != nil {
			return err
		}
	}
	return nil
}

// idIn is the job or feed that a subject is about.
func idIn(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// clearFeed removes what the broker has of a feed that was ended.
func clearFeed(ctx context.Context, b *broker.Broker, feed string) error {
	s, n := b.Subjects(), b.Streams()
	var errs []error
	for _, of := range []struct{ stream, subject string }{
		{n.Routed, s.Routed(feed)},
		{n.Changes, s.Changes(feed)},
		{n.Changes, s.Owner(feed)},
		{n.Bodies, s.Bodies(feed)},
	} {
		if err := b.Purge(ctx, of.stream, of.subject, math.MaxUint64); err != nil {
			errs = append(errs, fmt.Errorf("purge %s: %w", of.subject, err))
		}
	}
	return errors.Join(errs...)
}
