package directory

import (
	"context"
	"errors"
	"fmt"

	"millrace/pkg/broker"
	"millrace/pkg/rounds"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// Feeds is the directory of feeds and their rosters. The revision of a feed is
// the revision of its roster.
type Feeds struct {
	table *table[millracev1.Feed, *millracev1.Feed]
	slots *table[millracev1.FeedSlot, *millracev1.FeedSlot]
	// changes are those of rosters: hundreds of jobs that come or go at once change one roster, which is
	// read and written as a whole.
	changes rounds.Rounds[string, rosterChange, rostered]
}

// OpenFeeds returns the directory over the installation's bucket. [Feeds.Each]
// fills it.
func OpenFeeds(ctx context.Context, b *broker.Broker) (*Feeds, error) {
	bucket, err := b.JetStream().KeyValue(ctx, b.Buckets().Feeds)
	if err != nil {
		return nil, fmt.Errorf("open bucket of feeds: %w", err)
	}
	return &Feeds{
		table: newTable[millracev1.Feed](b, bucket, "feed."),
		slots: newTable[millracev1.FeedSlot](b, bucket, "slot."),
	}, nil
}

// Each keeps the directory current until ctx ends, and calls changed for each
// feed and each change of one, with nil for a feed that was removed.
func (f *Feeds) Each(ctx context.Context, changed func(id string, feed *millracev1.Feed)) error {
	return f.table.watch(ctx, changed)
}

// Get returns the feed as far as it is known, with its revision.
func (f *Feeds) Get(id string) (*millracev1.Feed, uint64, bool) { return f.table.cached(id) }

// Revision is the newest revision of the feed that is known, 0 for none.
func (f *Feeds) Revision(id string) uint64 {
	_, revision, _ := f.table.cached(id)
	return revision
}

// At returns the feed in a revision of at least the given one. The error wraps
// [stage.ErrOver] when the feed was removed.
func (f *Feeds) At(ctx context.Context, id string, revision uint64) (*millracev1.Feed, uint64, error) {
	if feed, known, ok := f.table.cached(id); ok && known >= revision {
		return feed, known, nil
	}
	feed, known, err := f.table.read(ctx, id)
	switch {
	case errors.Is(err, ErrUnknown):
		return nil, 0, fmt.Errorf("feed %s is no more: %w", id, stage.ErrOver)
	case err != nil:
		return nil, 0, err
	case known < revision: // a replica that is behind
		return nil, 0, fmt.Errorf("feed %s: revision %d is not known yet, %d is", id, revision, known)
	}
	return feed, known, nil
}

// Write stores the feed if the bucket has the given revision of it (0: none). The
// error wraps [ErrChanged] when it has another.
func (f *Feeds) Write(ctx context.Context, feed *millracev1.Feed, revision uint64) (uint64, error) {
	return f.table.write(ctx, feed.Id, feed, revision)
}

// Read returns the feed as it stands in the bucket, and its revision. The error
// wraps [ErrUnknown] when there is none.
func (f *Feeds) Read(ctx context.Context, id string) (*millracev1.Feed, uint64, error) {
	return f.table.read(ctx, id)
}

// Remove deletes the feed: its reader stops.
func (f *Feeds) Remove(ctx context.Context, id string) error { return f.table.remove(ctx, id) }

// PushedDown reports whether the source filters the feed, which then serves one job, whose filter the rows
// have passed.
func PushedDown(feed *millracev1.Feed) bool { return feed.FilterDocIds || len(feed.Selector) > 0 }
