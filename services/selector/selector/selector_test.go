package selector_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/directory"
	"millrace/pkg/service"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/pipelinetest"
	"millrace/services/selector/selector"
)

const (
	feed = "thefeed"
	site = service.DefaultSite
)

// fixture is a selector with a feed that the test writes itself.
type fixture struct {
	*pipelinetest.Pipeline
	t        *testing.T
	source   *millracev1.EndpointRef // of the feed; nil where nobody reads documents
	revision uint64
	head     uint64
}

func start(t *testing.T, roster ...*millracev1.Job) *fixture {
	t.Helper()
	f := &fixture{Pipeline: pipelinetest.Start(t, pipelinetest.Options{}), t: t}
	f.roster(roster...)
	return f
}

func (f *fixture) roster(jobs ...*millracev1.Job) {
	f.t.Helper()
	var err error
	var roster []*millracev1.RosterEntry
	for _, job := range jobs {
		roster = append(roster, &millracev1.RosterEntry{Job: job.Id, Run: job.Run, TargetSite: site})
		if _, err = f.Jobs().Write(f.t.Context(), job, 0); err != nil && !errors.Is(err, directory.ErrChanged) {
			f.t.Fatal(err)
		}
	}
	f.revision, err = f.Feeds().Write(f.t.Context(), &millracev1.Feed{Id: feed, Site: "elsewhere", Source: f.source, Roster: roster}, f.revision)
	if err != nil {
		f.t.Fatal(err)
	}
}

// read publishes n batches of one row each, as a reader would.
func (f *fixture) read(n int) {
	f.t.Helper()
	for range n {
		f.head++
		f.Send(f.Broker().Subjects().Changes(feed), &millracev1.ChangesBatch{
			Feed: feed, Epoch: 9, Ordinal: f.head, Roster: f.revision, Seq: fmt.Appendf(nil, `"%d-x"`, f.head),
			Rows: []*millracev1.Row{{Id: fmt.Sprintf("d%d", f.head), Revs: []string{"1-a"}}},
		})
	}
}

// selected are the ordinals that wait for a job, in order, checked against the job's run.
func (f *fixture) selected(job string, run uint64) []uint64 {
	f.t.Helper()
	var ordinals []uint64
	for _, e := range f.Messages(f.Broker().Streams().Selected, f.Broker().Subjects().Selected(site, job)) {
		b := &millracev1.SelectedBatch{}
		f.Decode(e, b)
		if p := b.Position; p.Run != run || p.Job != job || p.Feed != feed || p.Epoch != 9 {
			f.t.Errorf("position %v of job %s", p, job)
		}
		ordinals = append(ordinals, b.Position.Ordinal)
	}
	slices.Sort(ordinals)
	return ordinals
}

// take removes what waits for a job, as its next stage would.
func (f *fixture) take(job string, n int) {
	f.t.Helper()
	stream := f.Broker().Streams().Selected
	for _, e := range f.Messages(stream, f.Broker().Subjects().Selected(site, job))[:n] {
		f.Lose(stream, e.Sequence)
	}
}

// routed waits for n records, and returns all that there are by then.
func (f *fixture) routed(n int) []*millracev1.Routed {
	f.t.Helper()
	var all []*millracev1.Routed
	for _, e := range f.AwaitMessages(f.Broker().Streams().Routed, f.Broker().Subjects().Routed(feed), n) {
		r := &millracev1.Routed{}
		f.Decode(e, r)
		all = append(all, r)
	}
	return all
}

func names(jobs []*millracev1.RoutedJob) string {
	var out []string
	for _, j := range jobs {
		out = append(out, fmt.Sprintf("%s/%d", j.Job, j.Run))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func entry(job string, run uint64, ids ...string) *millracev1.Job {
	j := &millracev1.Job{Id: job, Run: run, Active: true}
	if ids != nil {
		j.Filter = &millracev1.JobFilter{ByDocIds: true, DocIds: ids}
	}
	return j
}

func TestEveryJobGetsWhatItWantsAndTheRecordSaysWho(t *testing.T) {
	t.Parallel()
	f := start(t, entry("all", 1), entry("second", 7, "d2"), entry("nobody", 3, "other"))
	f.Run(selector.Name)
	f.read(2)
	for _, r := range f.routed(2) {
		want := "all/1"
		if r.Ordinal == 2 {
			want = "all/1 second/7"
		}
		if names(r.Named) != want || len(r.Skipped) != 0 || r.Only != nil {
			t.Errorf("batch %d: named %q, skipped %q", r.Ordinal, names(r.Named), names(r.Skipped))
		}
		if r.Roster != f.revision || r.Epoch != 9 || r.Rows != 1 || string(r.Seq) != fmt.Sprintf(`"%d-x"`, r.Ordinal) {
			t.Errorf("record %v", r)
		}
	}
	if got := f.selected("all", 1); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("the first job got %v", got)
	}
	if got := f.selected("second", 7); !slices.Equal(got, []uint64{2}) {
		t.Errorf("the second job got %v", got)
	}
	if got := f.selected("nobody", 3); len(got) != 0 {
		t.Errorf("the third job got %v", got)
	}
}

// A record without its message would let the watermark pass what nobody has (invariant 1).
func TestRoutingIsRecordedOnlyAfterTheBrokerHasTheMessages(t *testing.T) {
	t.Parallel()
	f := start(t, entry("slow", 1))
	f.Run(selector.Name)
	limit := f.Broker().Limits().PerSubject
	f.read(limit + 4)
	for _, r := range f.routed(limit) {
		if !slices.Contains(f.selected("slow", 1), r.Ordinal) {
			t.Errorf("batch %d is recorded and nowhere", r.Ordinal)
		}
	}
	if n := len(f.routed(limit)); n != limit {
		t.Errorf("%d records with room for %d", n, limit)
	}
	f.take("slow", 4)
	f.routed(limit + 4)
}

func TestSlowJobIsPassedOverAndReplaysAtItsOwnPace(t *testing.T) {
	t.Parallel()
	f := start(t, entry("fast", 1), entry("slow", 2))
	f.Run(selector.Name)
	limit := f.Broker().Limits().PerSubject
	f.read(limit)
	f.routed(limit)
	f.take("fast", limit)
	f.read(5)
	late := 0
	for _, r := range f.routed(limit + 5) {
		if r.Ordinal > uint64(limit) {
			late++
			if names(r.Named) != "fast/1" || names(r.Skipped) != "slow/2" {
				t.Errorf("batch %d: named %q, skipped %q", r.Ordinal, names(r.Named), names(r.Skipped))
			}
		}
	}
	if late != 5 {
		t.Errorf("%d batches went on", late)
	}
	f.take("slow", limit)
	first, last := uint64(limit+1), uint64(limit+5)
	f.Send(f.Broker().Subjects().Replay("slow"), &millracev1.Replay{Feed: feed, Job: "slow", Run: 2, First: first, Last: last})
	for _, r := range f.routed(limit + 10)[limit+5:] {
		if r.Only.GetJob() != "slow" || r.Only.GetRun() != 2 || names(r.Named) != "slow/2" || r.Ordinal < first || r.Ordinal > last {
			t.Errorf("replayed as %v", r)
		}
	}
	if got := f.selected("slow", 2); len(got) != 5 || got[0] != first || got[4] != last {
		t.Errorf("the slow job got %v", got)
	}
	if got := f.selected("fast", 1); len(got) != 5 {
		t.Errorf("the fast job has %v: a replay is for one job", got)
	}
}

// The feed is never ahead of the fastest of its jobs (invariant 5).
func TestFeedWaitsWhileNoJobHasRoom(t *testing.T) {
	t.Parallel()
	f := start(t, entry("one", 1), entry("two", 2))
	f.Run(selector.Name)
	limit := f.Broker().Limits().PerSubject
	f.read(limit)
	f.routed(limit)
	f.read(1) // not together with the others: of two batches at once each may find room with another job
	f.Await("the batch too many is with the selector", func() bool {
		return len(f.Messages(f.Broker().Streams().Changes, f.Broker().Subjects().Changes(feed))) == limit+1
	})
	if n := len(f.routed(limit)); n != limit {
		t.Fatalf("%d records while all are full", n)
	}
	f.take("two", 1)
	all := f.routed(limit + 1)
	for _, r := range all[limit:] {
		if names(r.Named) != "two/2" || names(r.Skipped) != "one/1" {
			t.Errorf("named %q, skipped %q", names(r.Named), names(r.Skipped))
		}
	}
}

func TestBatchIsRoutedWithTheRosterThatItsReaderKnewOrANewerOne(t *testing.T) {
	t.Parallel()
	f := start(t, entry("old", 1))
	f.Run(selector.Name)
	f.read(1)
	f.routed(1)
	f.roster(entry("old", 1), entry("joined", 4))
	f.read(1)
	for _, r := range f.routed(2) {
		if r.Ordinal == 2 && (r.Roster != f.revision || names(r.Named) != "joined/4 old/1") {
			t.Errorf("record %v", r)
		}
	}
}

func TestReplayOfATrimmedLogIsLostAndSaysSo(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string][]int{"at the front": {0, 1}, "in the middle": {2}, "at the end": {3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, entry("job", 1))
			f.read(4) // and again by the replay: the job has room for them all
			batches := f.Messages(f.Broker().Streams().Changes, f.Broker().Subjects().Changes(feed))
			for _, i := range lose {
				f.Lose(f.Broker().Streams().Changes, batches[i].Sequence)
			}
			f.Send(f.Broker().Subjects().Replay("job"), &millracev1.Replay{Feed: feed, Job: "job", Run: 1, First: 2, Last: 4})
			f.Run(selector.Name)
			e := &millracev1.Event{}
			f.Decode(f.AwaitMessages(f.Broker().Streams().Events, f.Broker().Subjects().Events("job"), 1)[0], e)
			if e.Class != millracev1.Event_CLASS_FEED_LOST || e.Position.Run != 1 {
				t.Errorf("reported %v", e)
			}
		})
	}
}

func TestReplayForARunThatHasLeftIsDropped(t *testing.T) {
	t.Parallel()
	f := start(t, entry("job", 2))
	f.read(3)
	replay := f.Broker().Streams().Replay
	f.Send(f.Broker().Subjects().Replay("job"), &millracev1.Replay{Feed: feed, Job: "job", Run: 1, First: 1, Last: 3})
	f.Run(selector.Name)
	f.Await("the request is dropped", func() bool { return len(f.Messages(replay, ">")) == 0 })
	for _, r := range f.routed(3) {
		if r.Only != nil {
			t.Errorf("replayed as %v", r)
		}
	}
}

func TestBatchOfAFeedThatIsNoMoreIsDropped(t *testing.T) {
	t.Parallel()
	f := start(t, entry("job", 1))
	f.read(2)
	if err := f.Feeds().Remove(t.Context(), feed); err != nil {
		t.Fatal(err)
	}
	f.revision = 0
	f.Run(selector.Name)
	// The one behind it shows that it was dealt with.
	f.Send(f.Broker().Subjects().Changes("other"), &millracev1.ChangesBatch{Feed: "other", Epoch: 1, Ordinal: 1})
	if _, err := f.Feeds().Write(t.Context(), &millracev1.Feed{Id: "third", Site: "elsewhere"}, 0); err != nil {
		t.Fatal(err)
	}
	f.Send(f.Broker().Subjects().Changes("third"), &millracev1.ChangesBatch{Feed: "third", Epoch: 1, Ordinal: 1})
	f.AwaitMessages(f.Broker().Streams().Routed, f.Broker().Subjects().Routed("third"), 1)
	if got := f.selected("job", 1); len(got) != 0 {
		t.Errorf("the job got %v of a feed that is no more", got)
	}
}

// A batch that nobody wants but a job without room waits for that job no longer than others would: those
// that want what comes behind it are not held up.
func TestJobWithoutRoomDelaysNobodyWhoWantsWhatComesBehind(t *testing.T) {
	t.Parallel()
	limit := 8
	var mine []string
	for i := range 2 * limit {
		mine = append(mine, fmt.Sprintf("d%d", i+1))
	}
	slices.Sort(mine)
	f := start(t, entry("stopped", 1, mine...), entry("other", 2, fmt.Sprintf("d%d", 2*limit+1)))
	if f.Broker().Limits().PerSubject != limit {
		t.Fatalf("a job has room for %d", f.Broker().Limits().PerSubject)
	}
	f.Run(selector.Name)
	f.read(2*limit + 1)
	f.routed(2*limit + 1)
	if got := f.selected("other", 2); !slices.Equal(got, []uint64{uint64(2*limit + 1)}) {
		t.Errorf("the other job got %v", got)
	}
	if got := f.selected("stopped", 1); len(got) != limit {
		t.Errorf("the job without room has %v", got)
	}
}
