package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrDiskLost says that the streams are not those that were there before: the broker
// has lost its disk, or is another one. Sequences and revisions have begun anew, so
// that nothing that was learned from the old ones holds any more.
var ErrDiskLost = errors.New("the broker's streams are gone and were made again")

// Birth tells the streams that are there now from those that may come after the loss of
// the broker's disk.
type Birth struct{ at time.Time }

// Birth returns that of the present streams. It makes them when they are gone, and waits
// for the broker until ctx ends.
func (b *Broker) Birth(ctx context.Context) (Birth, error) {
	for {
		at, err := b.born(ctx)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return Birth{at}, err
		}
		if err := b.create(ctx); err != nil {
			return Birth{}, fmt.Errorf("make streams again: %w", err)
		}
	}
}

// born is when the bucket of jobs was made, which stands for all streams.
func (b *Broker) born(ctx context.Context) (at time.Time, err error) {
	var missing error
	err = b.insist(ctx, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, "KV_"+b.Buckets().Jobs)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			missing = err
			return nil
		}
		if err == nil {
			at = s.CachedInfo().Created
		}
		return err
	})
	return at, errors.Join(err, missing)
}

// AwaitLoss returns [ErrDiskLost] when the streams are others than those of the given
// birth, which is looked at whenever there is a new connection; the streams are then
// there again, empty. When ctx ends it returns nil.
func (b *Broker) AwaitLoss(ctx context.Context, birth Birth) error {
	for ctx.Err() == nil {
		session, end, err := b.session.within(ctx)
		if err != nil {
			return unlessOver(ctx, err)
		}
		now, err := b.Birth(session)
		switch {
		case err == nil && !now.at.Equal(birth.at):
			end()
			return ErrDiskLost
		case err != nil && session.Err() == nil:
			end()
			return unlessOver(ctx, err)
		}
		<-session.Done()
		end()
	}
	return nil
}

// unlessOver is err, or nil when ctx has ended.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
