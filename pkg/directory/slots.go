package directory

import (
	"context"
	"errors"
	"fmt"

	millracev1 "millrace/proto/millrace/v1"
)

// Current returns the feed that jobs with the key share at present, and the revision of the
// key's slot. The feed is empty, and the revision 0, where there is none; the feed that a slot
// names may be no more.
func (f *Feeds) Current(ctx context.Context, key string) (feed string, revision uint64, err error) {
	slot, revision, err := f.slots.newest(ctx, key)
	if errors.Is(err, ErrUnknown) {
		return "", 0, nil
	}
	return slot.GetFeed(), revision, err
}

// SetCurrent makes a feed the one that jobs with the key share, if the slot has the given
// revision (0: none); otherwise the error wraps [ErrChanged].
func (f *Feeds) SetCurrent(ctx context.Context, key, feed string, revision uint64) error {
	_, err := f.slots.write(ctx, key, &millracev1.FeedSlot{Feed: feed}, revision)
	return err
}

// Slots returns all slots.
func (f *Feeds) Slots(ctx context.Context) ([]Listed[millracev1.FeedSlot], error) {
	return f.slots.list(ctx)
}

// RemoveSlotAt removes a slot that nobody has changed since it had the revision;
// otherwise the error wraps [ErrChanged].
func (f *Feeds) RemoveSlotAt(ctx context.Context, key string, revision uint64) error {
	return f.slots.removeAt(ctx, key, revision)
}

// Newest returns the feed as the bucket's leader has it. The error wraps [ErrUnknown]
// when there is none.
func (f *Feeds) Newest(ctx context.Context, id string) (*millracev1.Feed, uint64, error) {
	return f.table.newest(ctx, id)
}

// Enrol puts a job's run into the feed's roster, in place of an earlier run of the same job, and
// returns the roster's revision with which it takes part. The error wraps [ErrUnknown] when there is
// no such feed.
func (f *Feeds) Enrol(ctx context.Context, id string, entry *millracev1.RosterEntry) (uint64, error) {
	for {
		feed, revision, err := f.table.newest(ctx, id)
		if err != nil {
			return 0, err
		}
		roster := make([]*millracev1.RosterEntry, 0, len(feed.Roster)+1)
		for _, e := range feed.Roster {
			if e.Job == entry.Job && e.Run == entry.Run {
				return revision, nil // it is there already
			}
			if e.Job != entry.Job {
				roster = append(roster, e)
			}
		}
		feed.Roster = append(roster, entry)
		revision, err = f.table.write(ctx, id, feed, revision)
		if errors.Is(err, ErrChanged) {
			continue
		}
		return revision, err
	}
}

// Leave takes entries out of the feed's roster. It returns the feed as it is then, and its revision;
// nil when there is none.
func (f *Feeds) Leave(ctx context.Context, id string, leaves func(*millracev1.RosterEntry) bool) (*millracev1.Feed, uint64, error) {
	for {
		feed, revision, err := f.table.newest(ctx, id)
		if errors.Is(err, ErrUnknown) {
			return nil, 0, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("leave feed: %w", err)
		}
		var stay []*millracev1.RosterEntry
		for _, e := range feed.Roster {
			if !leaves(e) {
				stay = append(stay, e)
			}
		}
		if len(stay) == len(feed.Roster) {
			return feed, revision, nil
		}
		feed.Roster = stay
		revision, err = f.table.write(ctx, id, feed, revision)
		if errors.Is(err, ErrChanged) {
			continue
		}
		return feed, revision, err
	}
}
