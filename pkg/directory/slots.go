package directory

import (
	"context"
	"errors"

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
