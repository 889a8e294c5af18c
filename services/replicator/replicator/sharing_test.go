package replicator_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/pkg/directory"
	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/replicator/replicator"
	"millrace/services/selector/selector"
)

// readings counts how often a source's _changes is read by a changes-reader, by kind of feed.
type readings struct {
	mu     sync.Mutex
	counts map[string]int
}

func watchReadings(d *databasetest.Database) *readings {
	r := &readings{counts: map[string]int{}}
	d.Server.Inject(millpond.Fault{Match: func(req *http.Request) bool {
		if q := req.URL.Query(); strings.HasSuffix(req.URL.Path, "/_changes") && (q.Has("seq_interval") || q.Get("feed") == "continuous") {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.counts[q.Get("feed")]++
		}
		return false
	}})
	return r
}

func (r *readings) of(feed string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[feed]
}

func targets(t *testing.T, n int) []*databasetest.Database {
	t.Helper()
	all := make([]*databasetest.Database, n)
	for i := range all {
		all[i] = databasetest.New(t, millpond.Options{})
	}
	return all
}

const follows = `,"continuous":true` + small

func TestContinuousJobsOfASourceReadItOnce(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 5)
	source.Fill(t, 0, 120)
	read := watchReadings(source)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	var jobs []*millracev1.Job
	for _, target := range to {
		jobs = append(jobs, p.Submit(source, target, follows))
	}
	p.AwaitLeaves(source, to...)
	source.Fill(t, 120, 30)
	p.AwaitLeaves(source, to...)
	feeds := map[string]bool{}
	for _, j := range jobs {
		feeds[p.Job(j.Id).Feed] = true
	}
	if len(feeds) != 1 {
		t.Errorf("%d feeds", len(feeds))
	}
	if n, c := read.of("normal"), read.of("continuous"); n != 1 || c != 1 {
		t.Errorf("the source was read %d times to its end, and followed %d times", n, c)
	}
}

// A job that comes when the live feed's beginning is not what it needs reads what it lacks in a pass of
// its own; what changes meanwhile it has from the live feed.
func TestLateJobMakesAPassAndThenJoins(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 3)
	source.Fill(t, 0, 50)
	read := watchReadings(source)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	first := p.Submit(source, to[0], follows)
	p.AwaitLeaves(source, to[0])
	// The beginning of its log goes, as after a day.
	log := p.Messages(p.Broker().Streams().Changes, p.Broker().Subjects().Changes(p.Job(first.Id).Feed))
	p.Lose(p.Broker().Streams().Changes, log[0].Sequence)
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for i := 50; ; i++ {
			select {
			case <-stop:
				return
			case <-ticker.C:
				source.Fill(t, i, 1)
			}
		}
	})
	late := p.Submit(source, to[1], follows)
	p.AwaitJob(late.Id, "follows the live feed", func(j *millracev1.Job) bool { return j.Feed == p.Job(first.Id).Feed && j.Active })
	third := p.Submit(source, to[2], follows)
	p.AwaitJob(third.Id, "follows the live feed", func(j *millracev1.Job) bool { return j.Feed == p.Job(first.Id).Feed && j.Active })
	close(stop)
	writing.Wait()
	p.AwaitLeaves(source, to...)
	if c := read.of("continuous"); c != 1 {
		t.Errorf("the source is followed %d times", c)
	}
	if n := read.of("normal"); n != 3 {
		t.Errorf("the source was read %d times to its end", n)
	}
}

func TestJobsSubmittedTogetherShareOnePass(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 6)
	source.Fill(t, 0, 120)
	read := watchReadings(source)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Stages()})
	var jobs []*millracev1.Job
	for _, target := range to {
		jobs = append(jobs, p.Submit(source, target, small))
	}
	together(t, p, jobs)
	p.Run(replicator.Name)
	for _, j := range jobs {
		p.Finish(j.Id)
	}
	for _, target := range to {
		databasetest.SameLeaves(t, source, target)
	}
	if n := read.of("normal"); n != 1 {
		t.Errorf("the source was read %d times", n)
	}
	p.Await("nothing is left", func() bool {
		feeds, err := p.Feeds().List(t.Context())
		slots, serr := p.Feeds().Slots(t.Context())
		return errors.Join(err, serr) == nil && len(feeds)+len(slots) == 0 && len(p.Messages(p.Broker().Streams().Routed, ">")) == 0
	})
}

// together makes jobs that are to be run as if they had been submitted in one go.
func together(t *testing.T, p *pipelinetest.Pipeline, jobs []*millracev1.Job) {
	t.Helper()
	for _, j := range jobs {
		job, revision, err := p.Jobs().Read(t.Context(), j.Id)
		if err != nil {
			t.Fatal(err)
		}
		job.Together = "x"
		if _, err := p.Jobs().Write(t.Context(), job, revision); err != nil {
			t.Fatal(err)
		}
	}
}

// What was written before a one-shot job was submitted is replicated by it, whatever pass of another
// job has begun before.
func TestOneShotJobSeesWhatWasThereBeforeIt(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 2)
	source.Fill(t, 0, 40)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	release := to[0].Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_docs"), Status: 429})
	slow := p.Submit(source, to[0], small+`,"retries_per_request":10`)
	p.AwaitJob(slow.Id, "runs", func(j *millracev1.Job) bool { return j.Active })
	p.Await("its pass is over", func() bool {
		last := p.Messages(p.Broker().Streams().Changes, p.Broker().Subjects().Changes(p.Job(slow.Id).Feed))
		b := &millracev1.ChangesBatch{}
		if len(last) > 0 {
			p.Decode(last[len(last)-1], b)
		}
		return b.End
	})
	source.Fill(t, 40, 1)
	p.Finish(p.Submit(source, to[1], small).Id)
	databasetest.SameLeaves(t, source, to[1])
	release()
	p.Finish(slow.Id)
}

func TestCrashedJobComesBackToTheFeedAndDelaysNobody(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 3)
	source.Fill(t, 0, 30)
	read := watchReadings(source)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	var jobs []*millracev1.Job
	for _, target := range to {
		jobs = append(jobs, p.Submit(source, target, follows))
	}
	p.AwaitLeaves(source, to...)
	p.AwaitJob(jobs[0].Id, "has a checkpoint", func(j *millracev1.Job) bool { return len(p.Progress(j.Id).GetSeq()) > 0 })
	heal := to[0].Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_docs"), Status: 503})
	source.Fill(t, 30, 60)
	p.AwaitLeaves(source, to[1:]...)
	p.AwaitJob(jobs[0].Id, "crashes", func(j *millracev1.Job) bool { return j.ErrorCount > 0 })
	source.Fill(t, 90, 10)
	p.AwaitLeaves(source, to[1:]...)
	heal()
	p.AwaitLeaves(source, to...)
	if n, c := read.of("normal"), read.of("continuous"); n != 1 || c != 1 {
		t.Errorf("the source was read %d times to its end, and followed %d times", n, c)
	}
}

func TestFeedEndsWithItsLastJob(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 2)
	source.Fill(t, 0, 10)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	one, two := p.Submit(source, to[0], follows), p.Submit(source, to[1], follows)
	p.AwaitLeaves(source, to...)
	feed := p.Job(one.Id).Feed
	p.Cancel(one.Id)
	p.Await("the first has left", func() bool {
		f, _, err := p.Feeds().Read(t.Context(), feed)
		return err == nil && len(f.Roster) == 1
	})
	source.Fill(t, 10, 10)
	p.AwaitLeaves(source, to[1])
	p.Cancel(two.Id)
	p.Await("the feed is no more", func() bool {
		_, _, err := p.Feeds().Read(t.Context(), feed)
		return errors.Is(err, directory.ErrUnknown)
	})
}

func TestKilledReplicatorsRunsGoOnInTheirFeed(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 3)
	source.Fill(t, 0, 60)
	read := watchReadings(source)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Stages()})
	owner := p.Run(replicator.Name)
	var jobs []*millracev1.Job
	for _, target := range to {
		jobs = append(jobs, p.Submit(source, target, follows))
	}
	p.AwaitLeaves(source, to...)
	runs := map[string]uint64{}
	for _, j := range jobs {
		runs[j.Id] = p.Job(j.Id).Run
	}
	for i := range 2 {
		owner.Kill()
		source.Fill(t, 60+10*i, 10)
		owner = p.Run(replicator.Name)
		p.AwaitLeaves(source, to...)
	}
	for _, j := range jobs {
		p.Await("its checkpoint goes on", func() bool {
			progress := p.Progress(j.Id)
			return progress.GetRun() == runs[j.Id] && progress.GetCounters().GetDocsWritten() == 80
		})
	}
	if n, c := read.of("normal"), read.of("continuous"); n != 1 || c != 1 {
		t.Errorf("the source was read %d times to its end, and followed %d times", n, c)
	}
}

// What is routed is kept for the slowest.
func TestLogOfWhatIsRoutedIsPurgedBelowTheSlowest(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 2)
	source.Fill(t, 0, 10)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	one, two := p.Submit(source, to[0], follows), p.Submit(source, to[1], follows)
	p.AwaitLeaves(source, to...)
	covered := func(j *millracev1.Job) uint64 { return p.Progress(j.Id).GetOrdinal() }
	p.Await("both have checkpoints", func() bool { return covered(one) > 0 && covered(two) > 0 })
	release := to[1].Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_docs"), Delay: pipelinetest.Patience})
	before := covered(two)
	for i := range 30 {
		source.Fill(t, 10+i, 1)
		p.AwaitLeaves(source, to[0])
	}
	p.Await("the fast one has a checkpoint", func() bool { return covered(one) > before+5 })
	for _, e := range p.Messages(p.Broker().Streams().Routed, p.Broker().Subjects().Routed(p.Job(one.Id).Feed)) {
		m := &millracev1.Routed{}
		p.Decode(e, m)
		if m.Ordinal > covered(two)+1 {
			break
		}
		if m.Ordinal == covered(two)+1 {
			release()
			return
		}
	}
	t.Errorf("the record behind %d is gone, which the slow job has still to read", covered(two))
	release()
}

func TestSourceFiltersForAJobThatIsAlone(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 2)
	source.Fill(t, 0, 20)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(selector.Name, replicator.Name)})
	p.Run(replicator.Name)
	ids := `,"doc_ids":["doc-000003","doc-000007","nobody"]`
	job := p.Submit(source, to[0], small+ids)
	var feed *millracev1.Feed
	p.Await("its feed is there", func() bool {
		var err error
		feed, _, err = p.Feeds().Read(t.Context(), p.Job(job.Id).Feed)
		return err == nil
	})
	if !feed.FilterDocIds || feed.Key != "" {
		t.Errorf("feed %v", feed)
	}
	p.Run(selector.Name)
	p.Finish(job.Id)
	if n := len(to[0].Leaves(t)); n != 2 {
		t.Errorf("%d documents", n)
	}
	live := p.Submit(source, to[1], follows+ids)
	p.Await("the documents are there", func() bool { return len(to[1].Leaves(t)) == 2 })
	p.AwaitJob(live.Id, "follows the live feed", func(j *millracev1.Job) bool {
		f, _, err := p.Feeds().Read(t.Context(), j.Feed)
		return err == nil && f.Live && !f.FilterDocIds
	})
	source.Write(t, `{"_id":"nobody","_rev":"1-aa"}`, `{"_id":"somebody","_rev":"1-aa"}`)
	p.Await("the third is there", func() bool { return len(to[1].Leaves(t)) == 3 })
}

func TestJobsWithOtherCredentialsOrBatchesShareNothing(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 3)
	source.Fill(t, 0, 20)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	submit := func(target *databasetest.Database, header, options string) *millracev1.Job {
		return p.SubmitDocument(fmt.Appendf(nil, `{"source":{"url":%q,"headers":{"X-Who":%q}},"target":%q,"continuous":true%s}`,
			source.Address(), header, target.Address(), options))
	}
	jobs := []*millracev1.Job{submit(to[0], "joe", ""), submit(to[1], "ann", ""), submit(to[2], "joe", `,"worker_batch_size":7`)}
	p.AwaitLeaves(source, to...)
	feeds := map[string]bool{}
	for _, j := range jobs {
		feeds[p.Job(j.Id).Feed] = true
	}
	if len(feeds) != len(jobs) {
		t.Errorf("%d feeds for %d jobs", len(feeds), len(jobs))
	}
}

// Nobody ends the run of a job that is removed while no replicator is there; its entry must not be
// routed to for ever.
func TestEntryOfARunThatIsOverIsSwept(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 2)
	source.Fill(t, 0, 10)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Stages()})
	owner := p.Run(replicator.Name)
	one, two := p.Submit(source, to[0], follows), p.Submit(source, to[1], follows)
	p.AwaitLeaves(source, to...)
	feed := p.Job(two.Id).Feed
	owner.Kill()
	p.Cancel(one.Id)
	p.Run(replicator.Name)
	p.Await("its entry is gone", func() bool {
		f, _, err := p.Feeds().Read(t.Context(), feed)
		return err == nil && len(f.Roster) == 1 && f.Roster[0].Job == two.Id
	})
	source.Fill(t, 10, 5)
	p.AwaitLeaves(source, to[1])
	if s := p.Job(two.Id).State; s != string(replication.Running) {
		t.Errorf("the other is %s", s)
	}
}
