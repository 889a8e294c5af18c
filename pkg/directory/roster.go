package directory

import (
	"context"
	"errors"
	"fmt"

	millracev1 "millrace/proto/millrace/v1"
)

// rosterChange is what somebody wants to be done to a roster: a run that joins, or those that leave.
type rosterChange struct {
	joins  *millracev1.RosterEntry
	leaves func(*millracev1.RosterEntry) bool
}

// rostered is a feed after changes of its roster, and the revision with which they hold.
type rostered struct {
	feed     *millracev1.Feed
	revision uint64
}

// Enrol puts a job's run into the feed's roster, in place of an earlier run of the same job, and
// returns the roster's revision with which it takes part. The error wraps [ErrUnknown] when there is
// no such feed.
func (f *Feeds) Enrol(ctx context.Context, id string, entry *millracev1.RosterEntry) (uint64, error) {
	r, err := f.change(ctx, id, rosterChange{joins: entry})
	return r.revision, err
}

// Leave takes entries out of the feed's roster. It returns the feed as it is then, and its revision;
// nil when there is none. The feed may be shared, and must not be changed.
func (f *Feeds) Leave(ctx context.Context, id string, leaves func(*millracev1.RosterEntry) bool) (*millracev1.Feed, uint64, error) {
	r, err := f.change(ctx, id, rosterChange{leaves: leaves})
	if errors.Is(err, ErrUnknown) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("leave feed: %w", err)
	}
	return r.feed, r.revision, nil
}

func (f *Feeds) change(ctx context.Context, id string, c rosterChange) (rostered, error) {
	return f.changes.Do(ctx, id, c, func(ctx context.Context, changes []rosterChange) (rostered, error) {
		for {
			feed, revision, err := f.table.newest(ctx, id)
			if err != nil {
				return rostered{}, err
			}
			roster, changed := applied(feed.Roster, changes)
			if !changed {
				return rostered{feed, revision}, nil
			}
			feed.Roster = roster
			revision, err = f.table.write(ctx, id, feed, revision)
			if errors.Is(err, ErrChanged) {
				continue
			}
			return rostered{feed, revision}, err
		}
	})
}

// applied is a roster after changes, and whether that is another.
func applied(roster []*millracev1.RosterEntry, changes []rosterChange) (result []*millracev1.RosterEntry, changed bool) {
	joins := map[string]*millracev1.RosterEntry{}
	var order []string
	for _, c := range changes {
		if c.joins == nil {
			continue
		}
		if joins[c.joins.Job] == nil {
			order = append(order, c.joins.Job)
		}
		joins[c.joins.Job] = c.joins
	}
	gone := func(e *millracev1.RosterEntry) bool {
		for _, c := range changes {
			if c.leaves != nil && c.leaves(e) {
				return true
			}
		}
		return false
	}
	for _, e := range roster {
		joined := joins[e.Job]
		switch {
		case joined != nil && joined.Run == e.Run: // it is there already
			delete(joins, e.Job)
			result = append(result, e)
		case joined != nil || gone(e):
			changed = true
		default:
			result = append(result, e)
		}
	}
	for _, job := range order {
		if e := joins[job]; e != nil {
			result, changed = append(result, e), true
		}
	}
	return result, changed
}
