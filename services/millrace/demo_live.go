package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/couch"
)

// sighting is a change in the feed of one side.
type sighting struct {
	side    side
	id, rev string
	deleted bool
	at      time.Time
	// more says that the feed's next change is there already.
	more bool
}

type side int

const (
	atSource side = iota
	atTarget
)

// live goes on with what is added, and says of each change when it has arrived, until
// the command is interrupted.
func (s *demo) live() error {
	group, ctx := errgroup.WithContext(s.cmd.Context())
	feeds, err := s.feeds(ctx)
	defer feeds.close()
	if err != nil {
		return err
	}
	s.hints()
	group.Go(func() error { return s.pipeline.failure(ctx) })
	seen := make(chan sighting, 64)
	for of, feed := range feeds {
		group.Go(func() error { return sight(ctx, feed, side(of), seen) })
	}
	group.Go(func() error {
		newArrivals(s.out).follow(ctx, seen)
		return nil
	})
	err = group.Wait()
	if s.cmd.Context().Err() != nil { // the regular end
		fmt.Fprintln(s.out, "stopping")
		return nil
	}
	return err
}

// bothFeeds are a feed of each side, nil where it is not open.
type bothFeeds [2]*couch.Changes

func (f bothFeeds) close() {
	for _, feed := range f {
		if feed != nil {
			feed.Close() //nolint:errcheck // nothing is written
		}
	}
}

// feeds opens both databases' feeds from now on: the source's, then the target's. The
// target is asked first where it stands, so that what comes in the source's feed is
// still to come in the target's.
func (s *demo) feeds(ctx context.Context) (feeds bothFeeds, err error) {
	for _, of := range []struct {
		side side
		db   *couch.DB
	}{{atTarget, s.ponds.target}, {atSource, s.ponds.source}} {
		info, err := of.db.Info(ctx)
		if err != nil {
			return feeds, err
		}
		feeds[of.side], err = of.db.Changes(ctx, couch.ChangesOptions{
			Feed: couch.FeedContinuous, Since: info.UpdateSeq, Style: couch.StyleMainOnly,
		})
		if err != nil {
			return feeds, err
		}
	}
	return feeds, nil
}

// sight passes the changes of a feed on, until ctx ends.
func sight(ctx context.Context, feed *couch.Changes, of side, seen chan<- sighting) error {
	for {
		row, err := feed.Next()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch what changes: %w", err)
		}
		found := sighting{side: of, id: row.ID, deleted: row.Deleted, at: time.Now(), more: feed.Ready()}
		if len(row.Revs) > 0 {
			found.rev = row.Revs[0]
		}
		select {
		case seen <- found:
		case <-ctx.Done():
			return nil
		}
	}
}

// fewArrivals is how many changes that arrive together get a line each.
const fewArrivals = 5

// arrivals says what arrives at the target.
type arrivals struct {
	out   io.Writer
	pairs *pairs
	group []arrival
}

type arrival struct {
	sighting
	latency time.Duration
}

func newArrivals(out io.Writer) *arrivals { return &arrivals{out: out, pairs: newPairs(pairsKept)} }

func (a *arrivals) follow(ctx context.Context, seen <-chan sighting) {
	for {
		select {
		case s := <-seen:
			a.take(s)
		case <-ctx.Done():
			return
		}
	}
}

// take adds a change to those that arrived with it, and tells of them with the last.
func (a *arrivals) take(s sighting) {
	if latency, both := a.pairs.add(s); both {
		a.group = append(a.group, arrival{s, latency})
	}
	if s.side == atTarget && s.more || len(a.group) == 0 {
		return
	}
	a.tell()
	a.group = a.group[:0]
}

func (a *arrivals) tell() {
	if len(a.group) > fewArrivals {
		latencies := make([]time.Duration, len(a.group))
		for i, r := range a.group {
			latencies[i] = r.latency
		}
		slices.Sort(latencies)
		fmt.Fprintf(a.out, "replicated %d changes: median latency %s, longest %s\n", len(a.group),
			brief(latencies[len(latencies)/2]), brief(latencies[len(latencies)-1]))
		return
	}
	for _, r := range a.group {
		what := ""
		if r.deleted {
			what = " (deleted)"
		}
		fmt.Fprintf(a.out, "replicated %s %s%s: at the target %s after it was seen at the source\n", r.id, r.rev, what, brief(r.latency))
	}
}
