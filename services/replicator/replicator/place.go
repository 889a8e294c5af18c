package replicator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"millrace/pkg/broker"
	"millrace/pkg/couch"
	"millrace/pkg/directory"
	"millrace/pkg/endpoint"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

// overlap is how many batches of a live feed a run takes again that comes from a pass of its own: on a
// cluster, what the live feed had from one copy of a shard before the pass began, another copy
// may not have had yet (DESIGN section 4, "Joining a live feed").
const overlap = 64

// place is where a run begins: behind an ordinal of a feed.
type place struct {
	feed    *millracev1.Feed
	ordinal uint64
	// joins: the feed is there already. Otherwise it is made, in the slot's revision.
	joins bool
	slot  uint64
	// beside is a live feed that is made as well, to be followed afterwards.
	beside     *millracev1.Feed
	besideSlot uint64
}

// choose finds the place where the run begins. updateSeq is where the source was when the
// run had not looked at any feed yet.
func (r *run) choose(ctx context.Context, lock *keyLock, updateSeq []byte) (*place, error) {
	key := r.passKey()
	if r.job.Continuous {
		key = r.liveKey()
	}
	if made := lock.just(key); made != nil && bytes.Equal(made.Since, r.progress.StartSeq) && !r.pushesDown() {
		return &place{feed: made, joins: true}, nil
	}
	if !r.job.Continuous {
		return r.choosePass(ctx, nil, 0)
	}
	live, slot, err := r.m.sharing.current(ctx, r.liveKey())
	if err != nil {
		return nil, err
	}
	if live == nil {
		return r.firstOfLive(ctx, slot, updateSeq)
	}
	at, ok, err := r.standsIn(ctx, live)
	if err != nil || ok {
		return &place{feed: live, ordinal: at, joins: true}, err
	}
	head, err := r.m.sharing.head(ctx, live)
	if err != nil {
		return nil, err
	}
	return r.choosePass(ctx, live, head)
}

// firstOfLive is the place of the first continuous job of a source. It reads the live feed from its
// own beginning, unless the source can choose for it what comes before now.
func (r *run) firstOfLive(ctx context.Context, slot uint64, updateSeq []byte) (*place, error) {
	live := r.newFeed("live")
	live.Live, live.Key, live.Since = true, r.liveKey(), r.progress.StartSeq
	if len(updateSeq) == 0 || bytes.Equal(updateSeq, r.progress.StartSeq) || !r.pushesDown() {
		return &place{feed: live, slot: slot}, nil
	}
	// Whatever changes after this seq is in the live feed, whenever that is opened.
	live.Since = updateSeq
	p, err := r.choosePass(ctx, live, 0)
	if err != nil {
		return nil, err
	}
	p.beside, p.besideSlot = live, slot
	return p, nil
}

// choosePass is a place in a finite feed, behind which the run goes on with a live one, if any.
func (r *run) choosePass(ctx context.Context, then *millracev1.Feed, after uint64) (*place, error) {
	pass := r.newFeed("pass")
	pass.Since = r.progress.StartSeq
	if then != nil {
		pass.Then, pass.ThenAfter = then.Id, after
	} else {
		pass.Together = r.job.Together
	}
	if r.pushesDown() {
		f := r.job.GetFilter()
		pass.FilterDocIds, pass.DocIds, pass.Selector = f.GetByDocIds(), f.GetDocIds(), f.GetSelector()
		return &place{feed: pass}, nil
	}
	pass.Key = r.passKey()
	there, slot, err := r.m.sharing.current(ctx, pass.Key)
	if err != nil {
		return nil, err
	}
	if there != nil {
		at, ok, err := r.standsIn(ctx, there)
		if err != nil || ok {
			return &place{feed: there, ordinal: at, joins: true}, err
		}
	}
	return &place{feed: pass, slot: slot}, nil
}

// newFeed is a feed of what the job reads.
//
// Revisions begin anew when the broker loses its disk, and so do run numbers. The session's
// id does not: what a stage that outlived the loss has still to say of a run is
// about a feed that nobody knows (invariant 1).
func (r *run) newFeed(kind string) *millracev1.Feed {
	return &millracev1.Feed{
		Id:   broker.Token(fmt.Sprintf("%s.%d.%s.%s", r.job.Id, r.nextRun(), r.progress.SessionId, kind)),
		Site: r.job.SourceSite, Source: r.job.Source, Style: r.style(),
		BatchRows: r.batchRows(),
	}
}

// The batches of a feed that many jobs choose from are so many times larger than usual: of 500 rows each
// of them would want a few, and every few rows are a message and two requests to its target. What bounds
// them is the time that functions have for a batch, and what BODIES can hold of one.
const (
	batchesOfFunctions = 16
	batchesOfSelectors = 128
	bytesOfBatch       = 64 << 20
	rowsOfBatch        = 32_000
)

func (r *run) batchRows() uint32 {
	rows, most := uint64(directory.Tuning(r.job).GetBatchRows()), uint64(batchesOfFunctions)
	if rows == 0 {
		return 0 // the reader's default
	}
	switch f := r.job.GetFilter(); {
	case len(f.GetSelector()) > 0 && r.docSize > 0:
		most = min(batchesOfSelectors, bytesOfBatch/r.docSize/rows, rowsOfBatch/rows)
	case len(f.GetSelector()) == 0 && f.GetFunction() == "":
		return uint32(rows)
	}
	return uint32(rows * max(1, min(1+uint64(len(r.others())), most)))
}

func (r *run) style() string {
	if r.job.WinningRevsOnly {
		return string(couch.StyleMainOnly)
	}
	return string(couch.StyleAllDocs)
}

// liveKey is what continuous jobs have in common that follow one live feed. Who reads a
// source with other credentials may be shown something else.
func (r *run) liveKey() string { return r.key("live") }

// passKey is what jobs have in common that share a pass. A one-shot job has to see what was there when it
// was submitted, and so shares a pass with those only that were submitted with it; a
// continuous one sees what is new afterwards.
func (r *run) passKey() string {
	if r.job.Continuous {
		return r.key("pass", string(r.progress.StartSeq))
	}
	return r.key("once", string(r.progress.StartSeq), r.together())
}

func (r *run) together() string {
	if r.job.Together == "" {
		return r.job.Id
	}
	return r.job.Together
}

func (r *run) key(parts ...string) string {
	parts = append(parts, r.sourceKey(), r.style(), fmt.Sprint(directory.Tuning(r.job).GetBatchRows()))
	return broker.Token(strings.Join(parts, "\n"))
}

// sourceKey is what all feeds of the job's source have in common.
func (r *run) sourceKey() string { return sourceKey(r.job) }

func sourceKey(job *millracev1.Job) string {
	return job.SourceSite + "\n" + endpoint.Identity(job.Source)
}

// standsIn reports whether the run may begin in a feed that is there, and behind which ordinal:
// because it was there before and the feed's log still has what follows, or because the feed began where
// the run does. Seqs are compared as strings, and with a feed's own only: they
// are opaque.
func (r *run) standsIn(ctx context.Context, feed *millracev1.Feed) (uint64, bool, error) {
	if directory.PushedDown(feed) || feed.Together != r.feedTogether() || len(feed.Roster) >= maxRoster {
		return 0, false, nil
	}
	if b := r.last; b != nil && b.Feed == feed.Id && bytes.Equal(r.progress.StartSeq, standsAt(b)) {
		there, err := r.m.sharing.complete(ctx, feed, b.Ordinal)
		if err != nil || there {
			return b.Ordinal, there, err
		}
	}
	if !bytes.Equal(r.progress.StartSeq, feed.Since) {
		return 0, false, nil
	}
	there, err := r.m.sharing.complete(ctx, feed, 0)
	return 0, there, err
}

func (r *run) feedTogether() string {
	if r.job.Continuous {
		return ""
	}
	return r.job.Together
}

// maxRoster bounds the jobs of a feed: a roster is one message of the broker.
const maxRoster = 8000

// standsAt is the seq that names a run's position to the source.
func standsAt(p *millracev1.Progress) []byte {
	if len(p.Seq) > 0 {
		return p.Seq
	}
	return p.StartSeq
}

// pushesDown reports whether the source is to be asked to filter: it can, which costs it less than to
// hand over everything, and nobody else is about to need the rest. Not every source can: PouchDB's servers
// take `_selector` for a design document that they do not have.
func (r *run) pushesDown() bool {
	f := r.job.GetFilter()
	return !r.job.UnfilteredFeed && (f.GetByDocIds() || len(f.GetSelector()) > 0) && r.alone()
}

// alone reports whether no other job is about to read the same from the same source.
func (r *run) alone() bool { return len(r.others()) == 0 }

// others are the other jobs that are about to read the same from the same source: of a one-shot
// job all that were submitted with it, of a continuous one those that have not begun yet.
func (r *run) others() (ids []string) {
	for job := range r.m.jobs.All() {
		if job.Id == r.job.Id || job.Continuous != r.job.Continuous || sourceKey(job) != r.sourceKey() {
			continue
		}
		if job.Continuous {
			if !job.Active && job.State == string(replication.Initializing) {
				ids = append(ids, job.Id)
			}
		} else if job.Together != "" && job.Together == r.job.Together {
			ids = append(ids, job.Id)
		}
	}
	return ids
}

// enter begins a run at a place that is chosen for it. The run is made the job's current one
// before the feed knows of it: what the feed brings is for a run that is known. Whoever finds
// it done by half does the rest.
func (r *run) enter(ctx context.Context, updateSeq []byte) error {
	lock, unlock, err := r.m.sharing.lock(ctx, r.sourceKey())
	if err != nil {
		return err
	}
	unlock = sync.OnceFunc(unlock)
	defer unlock()
	p, err := r.choose(ctx, lock, updateSeq)
	if err != nil {
		return err
	}
	if p.joins {
		unlock() // those behind find the same
	}
	r.progress.Ordinal = p.ordinal
	if err := r.become(ctx, p.feed); err != nil {
		return err
	}
	if p.joins {
		return r.join(ctx, p.feed)
	}
	if err := r.open(ctx, p); err != nil {
		return err
	}
	lock.make(p.feed)
	return nil
}

// become makes the run the job's current one, in this feed.
func (r *run) become(ctx context.Context, feed *millracev1.Feed) error {
	r.job.Run, r.job.Feed, r.job.Active = r.nextRun(), feed.Id, true
	r.job.State, r.job.Reason, r.job.RetryAt = string(replication.Running), "", 0
	r.progress.Run, r.progress.Feed, r.progress.Joined, r.progress.RoutedFloor = r.job.Run, r.job.Feed, 0, 0
	r.pushed = directory.PushedDown(feed)
	r.restore(r.progress)
	if err := r.listenTo(ctx, feed.Id); err != nil {
		return err
	}
	if err := r.m.jobs.SetProgress(ctx, r.job.Id, r.progress); err != nil {
		return err
	}
	return r.save(ctx)
}

// nextRun is never a number that the job has had, not even when it was removed in between
// and made again: what the old run left in the broker would count for the new one. The
// bucket's revisions only go up.
func (r *run) nextRun() uint64 { return max(r.job.Run+1, r.revision) }

func (r *run) rosterEntry() *millracev1.RosterEntry {
	return &millracev1.RosterEntry{Job: r.job.Id, Run: r.job.Run, TargetSite: r.job.TargetSite}
}

// join takes part in a feed that is there. What stands in its log before is routed again for this job;
// of what comes after, the record of its routing says whether the job was thought of.
func (r *run) join(ctx context.Context, feed *millracev1.Feed) (err error) {
	if r.behind, err = r.m.sharing.head(ctx, feed); err != nil {
		return err
	}
	joined, err := r.m.feeds.Enrol(ctx, feed.Id, r.rosterEntry())
	if errors.Is(err, directory.ErrUnknown) {
		return &crash{lost: true, reason: "the feed ended while the job joined it"}
	}
	if err != nil {
		return err
	}
	r.progress.Joined = joined
	return nil
}

// open makes the feed, and the one beside it, and lets others find them.
func (r *run) open(ctx context.Context, p *place) error {
	p.feed.Roster = []*millracev1.RosterEntry{r.rosterEntry()}
	if p.feed.Key != "" {
		p.feed.Expected = r.others()
	}
	joined, err := r.m.feeds.Write(ctx, p.feed, 0)
	if err != nil {
		return err
	}
	r.progress.Joined = joined
	if err := r.publishFeed(ctx, p.feed, p.slot); err != nil || p.beside == nil {
		return err
	}
	// The pass that is there by now keeps it, although it serves nobody yet.
	if _, err := r.m.feeds.Write(ctx, p.beside, 0); err != nil {
		return err
	}
	return r.publishFeed(ctx, p.beside, p.besideSlot)
}

func (r *run) publishFeed(ctx context.Context, feed *millracev1.Feed, slot uint64) error {
	if feed.Key == "" {
		return nil
	}
	err := r.m.feeds.SetCurrent(ctx, feed.Key, feed.Id, slot)
	if errors.Is(err, directory.ErrChanged) {
		return nil // another process was faster: this feed serves its one job
	}
	return err
}

// move goes on with the live feed, at the end of a pass.
func (r *run) move(ctx context.Context) error {
	pass, _, err := r.m.feeds.Newest(ctx, r.job.Feed)
	var live *millracev1.Feed
	if err == nil {
		live, _, err = r.m.feeds.Newest(ctx, pass.Then)
	}
	there, after := false, uint64(0)
	if err == nil {
		there, after, err = r.m.sharing.reachesBack(ctx, live, pass.ThenAfter)
	}
	if errors.Is(err, directory.ErrUnknown) || err == nil && !there {
		return &crash{lost: true, reason: "the live feed does not reach back to the pass that came before it"}
	}
	if err != nil {
		return err
	}
	before, run := r.job.Feed, r.job.Run
	p := r.progress
	p.Ordinal, p.Seq, p.End, p.Counters = after, r.saved.Seq, 0, countersOf(r.saved.Stats)
	if err := r.become(ctx, live); err != nil {
		return err
	}
	if err := r.join(ctx, live); err != nil {
		return err
	}
	r.saved = r.mark.Checkpoint()
	r.log.InfoContext(ctx, "pass is over; the live feed is followed", "run", r.job.Run)
	return r.m.leave(ctx, before, r.job.Id, run)
}

// leave takes a run out of its feed, which ends with its last one.
func (m *Manager) leave(ctx context.Context, feed, job string, run uint64) error {
	m.sharing.forget(feed, job)
	f, revision, err := m.feeds.Leave(ctx, feed, func(e *millracev1.RosterEntry) bool { return e.Job == job && e.Run <= run })
	if err != nil || f == nil || len(f.Roster) > 0 {
		return err
	}
	return m.sweeper.endUnused(ctx, directory.Listed[millracev1.Feed]{ID: feed, Value: f, Revision: revision})
}
