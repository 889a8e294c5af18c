package selector

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"millrace/pkg/couch"
	"millrace/pkg/directory"
	"millrace/pkg/filter"
	"millrace/pkg/routing"
	millracev1 "millrace/proto/millrace/v1"
)

// member is one job of a feed in one run, with what it wants.
type member struct {
	entry *millracev1.RosterEntry
	job   *millracev1.Job
	// filter is nil for a function, which is read when it is needed, and for a job that is no more.
	filter *filter.Filter
	// broken is what is wrong with the filter.
	broken error
}

// gone reports whether the job is no more: it gets nothing.
func (m *member) gone() bool { return m.job == nil }

// reads reports whether what the job wants is decided on what stands in documents.
func (m *member) reads() bool {
	return !m.gone() && (m.filter == nil || m.filter.NeedsBody())
}

// view is a feed's roster in one revision. It does not change.
type view struct {
	feed     *millracev1.Feed
	revision uint64
	members  []*member
	byJob    map[string]*member
	// plain decide on rows, selectors are in the index, functions are neither.
	plain, selectors, functions []*member
	index                       *routing.Index[string]
}

// present is how many members there are whose jobs are.
func (v *view) present() int { return len(v.plain) + len(v.selectors) + len(v.functions) }

// readers are the members that decide on what stands in documents.
func (v *view) readers() []*member {
	return append(append([]*member(nil), v.selectors...), v.functions...)
}

// rosters keeps the newest view of each feed.
type rosters struct {
	jobs *directory.Jobs

	mu    sync.Mutex
	feeds map[string]*roster
}

// roster is one feed's, and the index that all of its views share. It may have jobs that a view has not:
// those that have joined since.
type roster struct {
	mu     sync.Mutex
	newest *view
	index  *routing.Index[string]
}

func newRosters(jobs *directory.Jobs) *rosters {
	return &rosters{jobs: jobs, feeds: map[string]*roster{}}
}

// forget is told that a feed is no more.
func (r *rosters) forget(feed string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.feeds, feed)
}

// of returns the view of a feed as it is in the revision.
func (r *rosters) of(ctx context.Context, feed *millracev1.Feed, revision uint64) (*view, error) {
	r.mu.Lock()
	known := r.feeds[feed.Id]
	if known == nil {
		known = &roster{index: &routing.Index[string]{}}
		r.feeds[feed.Id] = known
	}
	r.mu.Unlock()
	known.mu.Lock()
	defer known.mu.Unlock()
	if v := known.newest; v != nil && v.revision >= revision {
		return v, nil
	}
	v, err := r.view(ctx, known, feed, revision)
	if err != nil {
		return nil, err
	}
	known.enter(v)
	return v, nil
}

// view compiles what is new since the newest one.
func (r *rosters) view(ctx context.Context, known *roster, feed *millracev1.Feed, revision uint64) (*view, error) {
	v := &view{feed: feed, revision: revision, byJob: make(map[string]*member, len(feed.Roster)), index: known.index}
	for _, entry := range feed.Roster {
		m, err := r.member(ctx, known.newest, entry)
		if err != nil {
			return nil, err
		}
		v.members = append(v.members, m)
		v.byJob[entry.Job] = m
		switch {
		case m.gone():
		case directory.PushedDown(feed):
			v.plain = append(v.plain, &member{entry: entry, job: m.job, filter: everything})
		case m.broken != nil || m.filter == nil:
			v.functions = append(v.functions, m)
		case m.filter.Selector() != nil:
			v.selectors = append(v.selectors, m)
		default:
			v.plain = append(v.plain, m)
		}
	}
	return v, nil
}

// everything is the filter where the source has filtered already.
var everything = &filter.Filter{}

// member returns what is known of a job, of which the replication id is made: it stays as it is for as
// long as there is the job.
func (r *rosters) member(ctx context.Context, newest *view, entry *millracev1.RosterEntry) (*member, error) {
	if newest != nil {
		if m := newest.byJob[entry.Job]; m != nil && !m.gone() {
			if m.entry.Run == entry.Run {
				return m, nil
			}
			again := *m
			again.entry = entry
			return &again, nil
		}
	}
	job := r.jobs.Known(entry.Job)
	if job == nil {
		var err error
		job, err = r.jobs.Newest(ctx, entry.Job)
		if errors.Is(err, directory.ErrUnknown) {
			return &member{entry: entry}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	m := &member{entry: entry, job: job}
	if !filter.HasFunction(job.Filter) {
		m.filter, m.broken = filter.Compile(job.Filter)
	}
	return m, nil
}

// enter makes a view the newest, and the index have its selectors.
func (known *roster) enter(v *view) {
	before := known.newest
	known.newest = v
	for _, m := range v.selectors {
		if before != nil {
			if b := before.byJob[m.entry.Job]; b != nil && b.filter == m.filter {
				continue
			}
		}
		known.index.Add(m.entry.Job, m.filter.Selector())
	}
	if before == nil {
		return
	}
	for _, b := range before.selectors {
		if v.byJob[b.entry.Job] == nil {
			known.index.Remove(b.entry.Job)
		}
	}
}

// functionOf returns the filter of a member that has a function, or says what is wrong.
func (svc *Service) functionOf(ctx context.Context, m *member, db *couch.DB) (*filter.Filter, error) {
	if m.broken != nil {
		return nil, m.broken
	}
	f, err := svc.functions.Of(ctx, m.job, db)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return f, nil
}
