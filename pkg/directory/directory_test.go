package directory_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/broker"
	"millrace/pkg/broker/brokertest"
	"millrace/pkg/directory"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openJobs(t *testing.T, b *broker.Broker) *directory.Jobs {
	t.Helper()
	jobs, err := directory.OpenJobs(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}

func openFeeds(t *testing.T, b *broker.Broker) *directory.Feeds {
	t.Helper()
	feeds, err := directory.OpenFeeds(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return feeds
}

// watching runs a watch until the test ends; each change is sent on the channel.
func watching[T any](t *testing.T, watch func(context.Context, func(string, T)) error) <-chan T {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan T, 16)
	var group sync.WaitGroup
	group.Go(func() {
		if err := watch(ctx, func(_ string, v T) { changes <- v }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(group.Wait)
	t.Cleanup(cancel)
	return changes
}

func writeJob(t *testing.T, jobs *directory.Jobs, job *millracev1.Job, revision uint64) uint64 {
	t.Helper()
	revision, err := jobs.Write(t.Context(), job, revision)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func at(run uint64) *millracev1.Position { return &millracev1.Position{Job: "j", Run: run} }

func TestMessagesOfTheRunThatIsUnderWayAreWorkedOn(t *testing.T) {
	b := brokertest.Start(t)
	owner, worker := openJobs(t, b), openJobs(t, b)
	changes := watching(t, worker.Watch)
	revision := writeJob(t, owner, &millracev1.Job{Id: "j", Run: 3, Active: true}, 0)
	<-changes
	if job, err := worker.Active(t.Context(), at(3)); err != nil || job.Run != 3 {
		t.Errorf("run 3 of 3: %v", err)
	}
	if _, err := worker.Active(t.Context(), at(2)); !errors.Is(err, stage.ErrOver) {
		t.Errorf("run 2 of 3: %v", err)
	}
	if _, err := worker.Active(t.Context(), at(4)); err == nil || errors.Is(err, stage.ErrOver) {
		t.Errorf("a run that is not known yet must be handed back, got %v", err)
	}
	writeJob(t, owner, &millracev1.Job{Id: "j", Run: 3}, revision)
	<-changes
	if _, err := worker.Active(t.Context(), at(3)); !errors.Is(err, stage.ErrOver) {
		t.Errorf("a run that has ended: %v", err)
	}
}

// The worker's own copy is not kept current here: it is as old as it can be.
func TestMessageOfANewerRunThanIsKnownIsLookedUp(t *testing.T) {
	b := brokertest.Start(t)
	owner, worker := openJobs(t, b), openJobs(t, b)
	writeJob(t, owner, &millracev1.Job{Id: "j", Run: 3, Active: true}, 0)
	if job, err := worker.Active(t.Context(), at(3)); err != nil || job.Run != 3 {
		t.Errorf("got %v", err)
	}
	if _, err := worker.Active(t.Context(), &millracev1.Position{Job: "nobody", Run: 1}); !errors.Is(err, stage.ErrOver) {
		t.Errorf("messages of a job that is no more: %v", err)
	}
}

func TestRemovedJobStaysRemoved(t *testing.T) {
	b := brokertest.Start(t)
	owner, worker := openJobs(t, b), openJobs(t, b)
	changes := watching(t, worker.Watch)
	writeJob(t, owner, &millracev1.Job{Id: "j", Run: 3, Active: true}, 0)
	<-changes
	if err := owner.SetProgress(t.Context(), "j", &millracev1.Progress{Run: 3}); err != nil {
		t.Fatal(err)
	}
	if err := owner.Remove(t.Context(), "j"); err != nil {
		t.Fatal(err)
	}
	if gone := <-changes; gone != nil {
		t.Fatalf("told of %v", gone)
	}
	if _, err := worker.Active(t.Context(), at(3)); !errors.Is(err, stage.ErrOver) {
		t.Errorf("got %v", err)
	}
	if p, err := owner.Progress(t.Context(), "j"); p != nil || err != nil {
		t.Errorf("progress %v, %v", p, err)
	}
	if err := owner.Remove(t.Context(), "j"); err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

func TestWriteOfSomebodyWhoKnowsAnOldRevisionIsRefused(t *testing.T) {
	jobs := openJobs(t, brokertest.Start(t))
	revision := writeJob(t, jobs, &millracev1.Job{Id: "j"}, 0)
	writeJob(t, jobs, &millracev1.Job{Id: "j", Run: 1}, revision)
	for _, old := range []uint64{0, revision} {
		if _, err := jobs.Write(t.Context(), &millracev1.Job{Id: "j", Run: 9}, old); !errors.Is(err, directory.ErrChanged) {
			t.Errorf("with revision %d: %v", old, err)
		}
	}
	// A key that was removed is like one that never was.
	if err := jobs.Remove(t.Context(), "j"); err != nil {
		t.Fatal(err)
	}
	if _, err := jobs.Write(t.Context(), &millracev1.Job{Id: "j", Run: 9}, revision); !errors.Is(err, directory.ErrChanged) {
		t.Errorf("update of a removed key: %v", err)
	}
	writeJob(t, jobs, &millracev1.Job{Id: "j"}, 0)
}

func TestRosterIsAtLeastAsNewAsTheBatch(t *testing.T) {
	b := brokertest.Start(t)
	owner, selector := openFeeds(t, b), openFeeds(t, b)
	changes := watching(t, selector.Each)
	first, err := owner.Write(t.Context(), &millracev1.Feed{Id: "f"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-changes
	roster := []*millracev1.RosterEntry{{Job: "j"}}
	second, err := owner.Write(t.Context(), &millracev1.Feed{Id: "f", Roster: roster}, first)
	if err != nil {
		t.Fatal(err)
	}
	// Whether or not the watch has heard of it by now.
	feed, revision, err := selector.At(t.Context(), "f", second)
	if err != nil || revision != second || len(feed.Roster) != 1 {
		t.Errorf("got revision %d of %d, %v", revision, second, err)
	}
	if _, _, err := selector.At(t.Context(), "f", second+1); err == nil || errors.Is(err, stage.ErrOver) {
		t.Errorf("a revision that is not known yet must be handed back, got %v", err)
	}
	<-changes
	if err := owner.Remove(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	<-changes
	if _, _, err := selector.At(t.Context(), "f", second); !errors.Is(err, stage.ErrOver) {
		t.Errorf("a feed that is no more: %v", err)
	}
	if selector.Revision("f") != 0 {
		t.Errorf("revision %d of a feed that is no more", selector.Revision("f"))
	}
}

func TestPerRunForgetsTheRunBefore(t *testing.T) {
	made := 0
	p := directory.NewPerRun(func() int { made++; return made })
	if a, b := p.Of(at(1)), p.Of(at(1)); a != 1 || b != 1 {
		t.Errorf("one run has %d and %d", a, b)
	}
	if c := p.Of(at(2)); c != 2 {
		t.Errorf("the next run has %d", c)
	}
}

func TestFeedThatWasChangedSinceItWasListedIsNotRemoved(t *testing.T) {
	b := brokertest.Start(t)
	feeds := openFeeds(t, b)
	revision, err := feeds.Write(t.Context(), &millracev1.Feed{Id: "f"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := feeds.Write(t.Context(), &millracev1.Feed{Id: "gone"}, 0); err != nil {
		t.Fatal(err)
	}
	if err := feeds.Remove(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	listed, err := feeds.List(t.Context())
	if err != nil || len(listed) != 1 || listed[0].ID != "f" || listed[0].Value.Id != "f" || listed[0].Revision != revision {
		t.Fatalf("listed %+v: %v", listed, err)
	}
	if _, err := feeds.Write(t.Context(), &millracev1.Feed{Id: "f", Live: true}, revision); err != nil {
		t.Fatal(err)
	}
	if err := feeds.RemoveAt(t.Context(), "f", revision); !errors.Is(err, directory.ErrChanged) {
		t.Fatalf("removed what somebody has changed: %v", err)
	}
	_, revision, err = feeds.Read(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	if err := feeds.RemoveAt(t.Context(), "f", revision); err != nil {
		t.Fatal(err)
	}
	if _, _, err := feeds.Read(t.Context(), "f"); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("read what was removed: %v", err)
	}
}

func TestLeaderKnowsJobsAndThoseThatWent(t *testing.T) {
	b := brokertest.Start(t)
	jobs := openJobs(t, b)
	if _, err := jobs.Newest(t.Context(), "j"); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("a job that never was: %v", err)
	}
	writeJob(t, jobs, &millracev1.Job{Id: "j", Run: 3}, 0)
	if job, err := jobs.Newest(t.Context(), "j"); err != nil || job.Run != 3 {
		t.Errorf("%v: %v", job, err)
	}
	if err := jobs.Remove(t.Context(), "j"); err != nil {
		t.Fatal(err)
	}
	if _, err := jobs.Newest(t.Context(), "j"); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("a job that went: %v", err)
	}
}
