package selector

import (
	"context"
	"errors"
	"fmt"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// replay routes a part of a feed's log to one job again, at the job's own pace:
// it serves nobody else and may wait for the job. Whoever asked for it sees in the log of routed
// batches how far it got.
func (svc *Service) replay(ctx context.Context, r *millracev1.Replay) error {
	defer svc.logged.begin()()
	b := svc.stage.Broker()
	feed, roster, err := svc.feeds.At(ctx, r.Feed, r.Roster)
	if err != nil {
		return err
	}
	v, err := svc.rosters.of(ctx, feed, roster)
	if err != nil {
		return err
	}
	m := v.inRoster(r)
	if m == nil {
		return fmt.Errorf("job %s, run %d has left the feed: %w", r.Job, r.Run, stage.ErrOver)
	}
	subject := b.Subjects().Changes(r.Feed)
	last, err := b.Last(ctx, b.Streams().Changes, subject)
	if errors.Is(err, broker.ErrGone) {
		return fmt.Errorf("the log of feed %s is gone: %w", r.Feed, stage.ErrOver)
	}
	if err != nil {
		return err
	}
	from, err := svc.seek(ctx, r.Feed, r.First, last)
	if errors.Is(err, broker.ErrGone) {
		return svc.lost(ctx, r, r.First)
	}
	if err != nil {
		return fmt.Errorf("replay feed %s: %w", r.Feed, err)
	}
	// Not by a consumer: there may be hundreds of replays, each waiting for room.
	for want := r.First; ; {
		batch, at, err := svc.logged.next(ctx, r.Feed, from)
		if errors.Is(err, broker.ErrGone) || errors.Is(err, broker.ErrClaimLost) {
			return svc.lost(ctx, r, want)
		}
		if err != nil {
			return fmt.Errorf("replay feed %s: %w", r.Feed, err)
		}
		from = at + 1
		if batch.Ordinal > want {
			return svc.lost(ctx, r, want)
		}
		if batch.Ordinal == want {
			if err := svc.again(ctx, v, m, batch); err != nil {
				return err
			}
			want++
		}
		switch {
		case want > r.Last:
			return nil
		case at >= last.Sequence:
			return svc.lost(ctx, r, want)
		}
	}
}

// seek finds where in a feed's log the batch with the ordinal stands, or the first above it: ordinals go
// up with the stream's sequences, in which the log is as sparse as other feeds are busy.
func (svc *Service) seek(ctx context.Context, feed string, ordinal uint64, last broker.Entry) (uint64, error) {
	b := svc.stage.Broker()
	first, err := b.First(ctx, b.Streams().Changes, b.Subjects().Changes(feed))
	if err != nil {
		return 0, err
	}
	low, high := first.Sequence, last.Sequence
	for low < high {
		middle := low + (high-low)/2
		batch, at, err := svc.logged.next(ctx, feed, middle)
		if err != nil {
			return 0, err
		}
		if batch.Ordinal >= ordinal {
			high = middle
		} else {
			low = at + 1
		}
	}
	return low, nil
}

// lost says that a batch that is to be replayed is not in the feed's log any more. Gaps are
// never passed over (DESIGN section 4): the job begins anew from its checkpoint.
func (svc *Service) lost(ctx context.Context, r *millracev1.Replay, ordinal uint64) error {
	pos := &millracev1.Position{Job: r.Job, Run: r.Run, Feed: r.Feed, Ordinal: ordinal}
	err := svc.stage.Fail(ctx, pos, fmt.Errorf("%w: batch %d is gone from its log", stage.ErrFeedLost, ordinal))
	// The replay is over. A run that did not hear of it asks again.
	return fmt.Errorf("%w: %w", stage.ErrOver, err)
}

// inRoster returns who a replay is for; nil if it has left the feed.
func (v *view) inRoster(r *millracev1.Replay) *member {
	m := v.byJob[r.Job]
	if m == nil || m.gone() || m.entry.Run != r.Run {
		return nil
	}
	return m
}

// again routes one batch to one job.
func (svc *Service) again(ctx context.Context, v *view, m *member, b *millracev1.ChangesBatch) error {
	r := &millracev1.Routed{
		Feed: b.Feed, Epoch: b.Epoch, Ordinal: b.Ordinal, Roster: v.revision,
		Seq: b.Seq, End: b.End, Rows: uint64(len(b.Rows)), Pending: b.Pending, Only: routedJob(m.entry),
	}
	o, err := svc.orderAgain(ctx, v, m, b)
	if err != nil {
		return svc.stage.Fail(ctx, selected(b, m.entry, nil).Position, err)
	}
	if o != nil {
		// Not the batch's own id: the broker may remember the first routing of a
		// batch that was lost since.
		id := fmt.Sprintf("%s.replay.%d", stage.BatchID(o.batch.Position), stage.Sequence(ctx))
		if err := svc.stage.Publish(ctx, svc.subject(m.entry), id, o.batch); err != nil {
			return err
		}
		r.Named = []*millracev1.RoutedJob{r.Only}
	}
	id := fmt.Sprintf("%s.%d.%d.%s.%d", b.Feed, b.Epoch, b.Ordinal, m.entry.Job, stage.Sequence(ctx))
	return svc.stage.Publish(ctx, svc.stage.Broker().Subjects().Routed(b.Feed), id, r)
}

func (svc *Service) orderAgain(ctx context.Context, v *view, m *member, b *millracev1.ChangesBatch) (*order, error) {
	if directory.PushedDown(v.feed) {
		return plainOrder(b, &member{entry: m.entry, job: m.job, filter: everything}), nil
	}
	if !m.reads() || len(b.Rows) == 0 {
		return plainOrder(b, m), nil
	}
	var c *choosing
	var err error
	as := m
	if suits(m) {
		c, as, err = svc.lookTogether(ctx, v, m, b)
	} else {
		c, err = svc.look(ctx, v, m, b)
	}
	if err != nil {
		return nil, err
	}
	return c.order(b, as), c.failed[as]
}
