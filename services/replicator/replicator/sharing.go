package replicator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/rounds"
	millracev1 "millrace/proto/millrace/v1"
)

// sharing is what runs that share feeds have to agree on: who finds a feed and who makes it, and
// up to where all of them have read what is routed.
type sharing struct {
	broker *broker.Broker
	feeds  *directory.Feeds
	jobs   *directory.Jobs

	mu    sync.Mutex
	locks map[string]*keyLock
	known map[string]*floors // by feed
	looks map[string]feedLook

	looking rounds.Rounds[string, struct{}, feedLook]
	heads   rounds.Rounds[string, struct{}, uint64]
}

// feedLook is what was found when somebody looked after a feed.
type feedLook struct {
	at   time.Time
	head uint64 // of its log, or 0
	// there: the feed is; trimmed: its log is not; behind: the selector has not done with the log's head.
	there, trimmed, behind bool
}

// keyLock lets one run of this process at a time look for a feed. Two processes that look at once may
// make two feeds: the source is then read twice, and nothing is lost.
type keyLock struct {
	held    chan struct{} // has room for the one who holds it
	holders int           // and those who wait
	// made are the feeds that holders have just made, by key: those who waited meanwhile find them without
	// asking.
	made map[string]madeFeed
}

// madeFeed is a feed as it was made.
type madeFeed struct {
	feed *millracev1.Feed
	at   time.Time
}

// madeAge is how long a feed that was just made is taken for one whose log is complete. What is wrong about
// that is a gap, which is always noticed.
const madeAge = 5 * time.Second

// just returns the feed with the key that was just made by one who held the lock; nil for none. The caller
// holds it.
func (l *keyLock) just(key string) *millracev1.Feed {
	if m, ok := l.made[key]; ok && time.Since(m.at) < madeAge {
		return m.feed
	}
	return nil
}

// make notes a feed that was made. The caller holds the lock.
func (l *keyLock) make(feed *millracev1.Feed) {
	if feed == nil || feed.Key == "" {
		return
	}
	if l.made == nil {
		l.made = map[string]madeFeed{}
	}
	l.made[feed.Key] = madeFeed{feed, time.Now()}
}

func newSharing(b *broker.Broker, feeds *directory.Feeds, jobs *directory.Jobs) *sharing {
	return &sharing{broker: b, feeds: feeds, jobs: jobs, locks: map[string]*keyLock{}, known: map[string]*floors{}, looks: map[string]feedLook{}}
}

// lock waits until nobody else looks for feeds of the source.
func (s *sharing) lock(ctx context.Context, source string) (l *keyLock, unlock func(), err error) {
	s.mu.Lock()
	l = s.locks[source]
	if l == nil {
		l = &keyLock{held: make(chan struct{}, 1)}
		s.locks[source] = l
	}
	l.holders++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.holders--; l.holders == 0 {
			delete(s.locks, source)
		}
	}
	select {
	case l.held <- struct{}{}:
		return l, func() { <-l.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, nil, ctx.Err()
	}
}

// current returns the feed that jobs with the key share at present, and the revision of its slot;
// nil where there is none.
func (s *sharing) current(ctx context.Context, key string) (*millracev1.Feed, uint64, error) {
	id, slot, err := s.feeds.Current(ctx, key)
	if err != nil || id == "" {
		return nil, slot, err
	}
	feed, _, err := s.feeds.Newest(ctx, id)
	if errors.Is(err, directory.ErrUnknown) {
		return nil, slot, nil
	}
	return feed, slot, err
}

// head is the newest ordinal of the feed, as far as anybody can tell: what its log says, or, where
// that was trimmed to its end, what is known of batches that were routed.
func (s *sharing) head(ctx context.Context, feed *millracev1.Feed) (uint64, error) {
	return s.heads.Do(ctx, feed.Id, struct{}{}, func(ctx context.Context, _ []struct{}) (uint64, error) { return s.headNow(ctx, feed) })
}

func (s *sharing) headNow(ctx context.Context, feed *millracev1.Feed) (uint64, error) {
	newest, err := s.batch(s.broker.Last(ctx, s.broker.Streams().Changes, s.broker.Subjects().Changes(feed.Id)))
	if !errors.Is(err, broker.ErrGone) {
		return newest.GetOrdinal(), err
	}
	head := uint64(0)
	e, err := s.broker.Last(ctx, s.broker.Streams().Routed, s.broker.Subjects().Routed(feed.Id))
	if err != nil && !errors.Is(err, broker.ErrGone) {
		return 0, fmt.Errorf("find how far the feed is routed: %w", err)
	}
	if err == nil {
		m, err := decodeRouting(e)
		if err != nil {
			return 0, err
		}
		head = m.Ordinal
	}
	for _, entry := range feed.Roster {
		p, err := s.jobs.Progress(ctx, entry.Job)
		if err != nil {
			return 0, err
		}
		if p != nil && p.Feed == feed.Id {
			head = max(head, p.Ordinal)
		}
	}
	return head, nil
}

// selectorStage is the durable consumer of the feeds' logs.
const selectorStage = "selector"

// look looks after a feed that does not move, for all of its runs: what was found is believed for
// maxAge.
func (s *sharing) look(ctx context.Context, feed string, maxAge time.Duration) (feedLook, error) {
	s.mu.Lock()
	known, ok := s.looks[feed]
	s.mu.Unlock()
	if ok && time.Since(known.at) < maxAge {
		return known, nil
	}
	return s.looking.Do(ctx, feed, struct{}{}, func(ctx context.Context, _ []struct{}) (feedLook, error) { return s.lookNow(ctx, feed) })
}

func (s *sharing) lookNow(ctx context.Context, feed string) (feedLook, error) {
	l := feedLook{at: time.Now()}
	last, err := s.broker.Last(ctx, s.broker.Streams().Changes, s.broker.Subjects().Changes(feed))
	b, err := s.batch(last, err)
	if err != nil && !errors.Is(err, broker.ErrGone) {
		return l, err
	}
	l.head, l.trimmed = b.GetOrdinal(), err != nil
	handled, err := s.broker.Handled(ctx, s.broker.Streams().Changes, selectorStage)
	if err != nil {
		return l, err
	}
	l.behind = !l.trimmed && handled < last.Sequence
	_, _, err = s.feeds.Read(ctx, feed)
	if err != nil && !errors.Is(err, directory.ErrUnknown) {
		return l, err
	}
	l.there = err == nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks[feed] = l
	return l, nil
}

// complete reports whether the feed's log has everything above the ordinal.
func (s *sharing) complete(ctx context.Context, feed *millracev1.Feed, ordinal uint64) (bool, error) {
	there, _, err := s.reachesBack(ctx, feed, ordinal)
	return there, err
}

// reachesBack is complete, and says up to where the log reaches below the ordinal, as far as overlaps
// go.
func (s *sharing) reachesBack(ctx context.Context, feed *millracev1.Feed, ordinal uint64) (there bool, after uint64, err error) {
	oldest, err := s.batch(s.broker.First(ctx, s.broker.Streams().Changes, s.broker.Subjects().Changes(feed.Id)))
	if errors.Is(err, broker.ErrGone) {
		head, err := s.head(ctx, feed)
		return head <= ordinal, max(head, ordinal), err
	}
	if err != nil {
		return false, 0, err
	}
	return oldest.Ordinal <= ordinal+1, max(oldest.Ordinal-1, ordinal-min(ordinal, overlap)), nil
}

// batch decodes an entry of a feed's log.
func (s *sharing) batch(e broker.Entry, err error) (*millracev1.ChangesBatch, error) {
	if err != nil {
		return nil, fmt.Errorf("read the feed's log: %w", err)
	}
	b := &millracev1.ChangesBatch{}
	if err := proto.Unmarshal(e.Data, b); err != nil {
		return nil, fmt.Errorf("read the feed's log: %w", err)
	}
	return b, nil
}

// floors are the stream sequences of ROUTED below which the runs of a feed need nothing.
type floors struct {
	of     map[string]floor // runs of this process, by job
	roster []*millracev1.RosterEntry
	read   time.Time // when the roster was
	purged uint64
}

type floor struct{ run, sequence uint64 }

// rosterAge is how old a roster may be by which the log of what is routed is purged: another run that
// has joined since keeps more of it at the next look.
const rosterAge = 5 * time.Second

// floor notes up to where a run needs nothing of what is routed, and returns up to where none of its feed
// does: 0 where that is not known, or has been said before.
//
// A run that joins behind it has what it lacks routed again (ADR 026).
func (s *sharing) floor(ctx context.Context, feed, job string, run, sequence uint64) (uint64, error) {
	roster, err := s.note(ctx, feed, job, floor{run, sequence})
	if err != nil {
		return 0, err
	}
	least := sequence
	for _, entry := range roster {
		at, err := s.floorOf(ctx, feed, entry)
		if err != nil {
			return 0, err
		}
		least = min(least, at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.known[feed]
	if f == nil || least <= f.purged {
		return 0, nil
	}
	f.purged = least
	return least, nil
}

func (s *sharing) note(ctx context.Context, feed, job string, at floor) ([]*millracev1.RosterEntry, error) {
	s.mu.Lock()
	f := s.known[feed]
	if f == nil {
		f = &floors{of: map[string]floor{}}
		s.known[feed] = f
	}
	f.of[job] = at
	roster, fresh := f.roster, time.Since(f.read) < rosterAge
	s.mu.Unlock()
	if fresh {
		return roster, nil
	}
	now, _, err := s.feeds.Newest(ctx, feed)
	if errors.Is(err, directory.ErrUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.roster, f.read = now.Roster, time.Now()
	return f.roster, nil
}

// floorOf is how far a run has read what is routed: as it said itself, or, if it is another
// process's, as its checkpoint says.
func (s *sharing) floorOf(ctx context.Context, feed string, entry *millracev1.RosterEntry) (uint64, error) {
	s.mu.Lock()
	at, here := s.known[feed].of[entry.Job]
	s.mu.Unlock()
	if here && at.run == entry.Run {
		return at.sequence, nil
	}
	p, err := s.jobs.Progress(ctx, entry.Job)
	if err != nil || p == nil || p.Run != entry.Run || p.Feed != feed {
		return 0, err
	}
	return p.RoutedFloor, nil
}

// forget is told that a run has left its feed.
func (s *sharing) forget(feed, job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.looks, feed)
	f := s.known[feed]
	if f == nil {
		return
	}
	delete(f.of, job)
	f.read = time.Time{}
	if len(f.of) == 0 {
		delete(s.known, feed)
	}
}
