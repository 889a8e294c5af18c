package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/pause"
	millracev1 "millrace/proto/millrace/v1"
)

const (
	askRouted    = 2 * time.Millisecond
	askRoutedMax = 100 * time.Millisecond
)

// tail keeps a reader a bounded number of batches ahead of the fastest of its
// jobs (invariant 5). How far that is, the log of routed batches says, and of what was
// purged from it the progress of the jobs whose checkpoints cover it. They are looked
// at only when the window is used up, so that an idle feed costs nothing.
type tail struct {
	broker  *broker.Broker
	subject string
	// covered is the newest ordinal that a checkpoint of a job of the feed covers.
	covered func(ctx context.Context) (uint64, error)
	window  uint64
	routed  uint64
}

// room waits until the batch with this ordinal may be published.
func (t *tail) room(ctx context.Context, ordinal uint64) error {
	for delay := askRouted; ordinal > t.routed+t.window; {
		before := t.routed
		if err := t.look(ctx); err != nil {
			return err
		}
		if t.routed > before {
			delay = askRouted
			continue
		}
		if err := pause.For(ctx, delay); err != nil {
			return err
		}
		delay = min(2*delay, askRoutedMax)
	}
	return nil
}

// look finds out how far the feed is routed. The newest record is not always the one
// with the highest ordinal (a replay writes older ones), and no record at all may
// mean that all are purged; a checkpoint then says it, if later.
func (t *tail) look(ctx context.Context) error {
	last, err := t.broker.Last(ctx, t.broker.Streams().Routed, t.subject)
	if err != nil && !errors.Is(err, broker.ErrGone) {
		return fmt.Errorf("read how far the feed is routed: %w", err)
	}
	var r millracev1.Routed
	if err := proto.Unmarshal(last.Data, &r); err != nil {
		return fmt.Errorf("read how far the feed is routed: %w", err)
	}
	t.routed = max(t.routed, r.Ordinal)
	if err == nil && r.Only == nil {
		return nil
	}
	covered, err := t.covered(ctx)
	if err != nil {
		return fmt.Errorf("read how far the feed is checkpointed: %w", err)
	}
	t.routed = max(t.routed, covered)
	return nil
}
