package replicator_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/replicator/replicator"
)

// awaitNothingLeft waits until a feed is ended and nothing in the broker speaks of it, or
// of its job, any more.
func awaitNothingLeft(t *testing.T, p *pipelinetest.Pipeline, job, feed string) {
	t.Helper()
	n, s := p.Broker().Streams(), p.Broker().Subjects()
	p.Await("the feed is ended", func() bool {
		_, _, err := p.Feeds().Read(t.Context(), feed)
		return errors.Is(err, directory.ErrUnknown)
	})
	p.Await("the feed is read no more", func() bool {
		lease, err := p.Broker().AcquireLease(t.Context(), "feed."+feed, "test", time.Second)
		if err != nil {
			return false
		}
		return lease.Release(t.Context()) == nil
	})
	for _, of := range []struct{ stream, subject string }{
		{n.Routed, s.Routed(feed)}, {n.Changes, s.Changes(feed)}, {n.Bodies, s.Bodies(feed)}, {n.Done, s.Done(job)},
	} {
		p.Await("nothing is left in "+of.subject, func() bool { return len(p.Messages(of.stream, of.subject)) == 0 })
	}
	p.Await("no progress is left", func() bool { return p.Progress(job) == nil })
}

// continuous starts a continuous job that has copied everything, and returns it.
func continuous(t *testing.T, p *pipelinetest.Pipeline, source, target *databasetest.Database, docs int) *millracev1.Job {
	t.Helper()
	source.Fill(t, 0, docs)
	job := p.Submit(source, target, `,"continuous":true`)
	p.Await("everything is replicated", func() bool { return len(target.Leaves(t)) == docs })
	return p.Job(job.Id)
}

func TestFeedOfAJobRemovedWhileNoReplicatorWasAliveIsEnded(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Stages()})
	owner := p.Run(replicator.Name)
	job := continuous(t, p, source, target, 20)
	owner.Kill()
	p.Cancel(job.Id)
	source.Fill(t, 20, 5)
	p.Await("the feed is still read", func() bool {
		return len(p.Messages(p.Broker().Streams().Changes, p.Broker().Subjects().Changes(job.Feed))) > 1
	})
	p.Run(replicator.Name)
	awaitNothingLeft(t, p, job.Id, job.Feed)
}

func TestFeedOfAJobRemovedBetweenTwoOwnersIsEnded(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	// The dead owner's lease lasts longer than the test.
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Stages(), LeaseTTL: time.Hour})
	owner := p.Run(replicator.Name)
	job := continuous(t, p, source, target, 20)
	p.Run(replicator.Name) // stands by
	owner.Kill()
	p.Cancel(job.Id)
	awaitNothingLeft(t, p, job.Id, job.Feed)
}

// The job is there again when somebody looks; its old feed is not the new one's.
func TestFeedOfAJobRemovedAndMadeAgainWhileNoReplicatorWasAliveIsEnded(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Stages()})
	owner := p.Run(replicator.Name)
	before := continuous(t, p, source, target, 20)
	owner.Kill()
	p.Cancel(before.Id)
	source.Fill(t, 20, 5)
	after := p.Submit(source, target, "")
	p.Run(replicator.Name)
	p.Await("the feed of before is ended", func() bool {
		_, _, err := p.Feeds().Read(t.Context(), before.Feed)
		return errors.Is(err, directory.ErrUnknown)
	})
	p.Finish(after.Id)
	databasetest.SameLeaves(t, source, target)
}

// The owner died after it had written that the run is over, and before it ended the feed.
func TestFeedOfARunThatWasHalfEndedIsEnded(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Stages()})
	owner := p.Run(replicator.Name)
	before := continuous(t, p, source, target, 20)
	owner.Kill()
	job, revision, err := p.Jobs().Read(t.Context(), before.Id)
	if err != nil {
		t.Fatal(err)
	}
	job.Active = false
	if _, err := p.Jobs().Write(t.Context(), job, revision); err != nil {
		t.Fatal(err)
	}
	p.Run(replicator.Name)
	p.Await("the feed of before is ended", func() bool {
		_, _, err := p.Feeds().Read(t.Context(), before.Feed)
		return errors.Is(err, directory.ErrUnknown)
	})
	source.Fill(t, 20, 5)
	p.Await("another run goes on", func() bool { return len(target.Leaves(t)) == 25 })
}

// A feed is looked at before its job, in the order in which they are written. What is swept
// after the feed shows that the feed was looked at.
func TestFeedOfARunThatHasJustBegunIsKept(t *testing.T) {
	t.Parallel()
	p := pipelinetest.Start(t, pipelinetest.Options{})
	// Paused: nobody takes the job.
	job := &millracev1.Job{Id: "job", Run: 7, Active: true, State: string(replication.Paused)}
	if _, err := p.Jobs().Write(t.Context(), job, 0); err != nil {
		t.Fatal(err)
	}
	write := func(feed, job string, run uint64) {
		t.Helper()
		_, err := p.Feeds().Write(t.Context(), &millracev1.Feed{
			Id: feed, Roster: []*millracev1.RosterEntry{{Job: job, Run: run}},
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
	}
	write("alive", "job", 7)
	write("shared", "job", 7)
	_, revision, err := p.Feeds().Read(t.Context(), "shared")
	if err != nil {
		t.Fatal(err)
	}
	shared := &millracev1.Feed{Id: "shared", Roster: []*millracev1.RosterEntry{{Job: "other", Run: 1}, {Job: "job", Run: 7}}}
	if _, err := p.Feeds().Write(t.Context(), shared, revision); err != nil {
		t.Fatal(err)
	}
	write("old", "job", 6)
	write("orphan", "other", 1)
	p.Run(replicator.Name)
	for _, feed := range []string{"old", "orphan"} {
		p.Await(feed+" is ended", func() bool {
			_, _, err := p.Feeds().Read(t.Context(), feed)
			return errors.Is(err, directory.ErrUnknown)
		})
	}
	for _, feed := range []string{"alive", "shared"} {
		if _, _, err := p.Feeds().Read(t.Context(), feed); err != nil {
			t.Errorf("the feed of a run that is under way was ended: %v", err)
		}
	}
}

// Jobs come, run and go while others sweep; none loses its feed.
func TestSweepingDisturbsNoRun(t *testing.T) {
	t.Parallel()
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	source, target := databases(t)
	source.Fill(t, 0, 10)
	for i := range 10 {
		sweeping := p.Run(replicator.Name) // sweeps at once
		var ids []string
		for j := range 3 {
			ids = append(ids, p.Submit(source, target, fmt.Sprintf(`,"doc_ids":["doc-%06d","x%d"]`, j, i)).Id)
		}
		for _, id := range ids {
			if run := p.Finish(id); run.ErrorCount > 0 {
				t.Errorf("a run crashed: %s", run.Reason)
			}
			p.Cancel(id)
		}
		sweeping.Stop()
	}
	p.Await("nothing is left in the broker", func() bool {
		n, s := p.Broker().Streams(), p.Broker().Subjects()
		return len(p.Messages(n.Routed, s.Routed(broker.Any)))+len(p.Messages(n.Done, s.Done(broker.Any))) == 0
	})
}

func TestRunWhoseFeedIsNoMoreBeginsAnew(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	before := continuous(t, p, source, target, 20)
	if err := p.Feeds().Remove(t.Context(), before.Feed); err != nil {
		t.Fatal(err)
	}
	source.Fill(t, 20, 5)
	// Its reader may have had the last of them before it noticed.
	p.AwaitJob(before.Id, "is in another run", func(j *millracev1.Job) bool { return j.Run != before.Run })
	p.Await("another run goes on", func() bool { return len(target.Leaves(t)) == 25 })
}
