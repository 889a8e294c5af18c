package directory_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"millrace/pkg/broker/brokertest"
	millracev1 "millrace/proto/millrace/v1"
)

func entry(job string, run uint64) *millracev1.RosterEntry {
	return &millracev1.RosterEntry{Job: job, Run: run}
}

func rosterOf(f *millracev1.Feed) string {
	var s []string
	for _, e := range f.GetRoster() {
		s = append(s, fmt.Sprintf("%s/%d", e.Job, e.Run))
	}
	return strings.Join(s, " ")
}

// Hundreds that come and go at once are all there, or gone, at the end, in a few writes of the roster.
func TestThoseWhoComeAndGoAtOnceChangeTheRosterTogether(t *testing.T) {
	b := brokertest.Start(t)
	feeds, other := openFeeds(t, b), openFeeds(t, b) // two processes
	const n = 200
	feed := &millracev1.Feed{Id: "f"}
	for i := range n {
		feed.Roster = append(feed.Roster, entry(fmt.Sprintf("old%d", i), 1))
	}
	if _, err := feeds.Write(t.Context(), feed, 0); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	revisions := map[uint64]bool{}
	var group sync.WaitGroup
	for i := range n {
		in := feeds
		if i%2 == 1 {
			in = other
		}
		group.Go(func() {
			revision, err := in.Enrol(t.Context(), "f", entry(fmt.Sprintf("new%d", i), 1))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			revisions[revision] = true
		})
		group.Go(func() {
			job := fmt.Sprintf("old%d", i)
			left, _, err := in.Leave(t.Context(), "f", func(e *millracev1.RosterEntry) bool { return e.Job == job })
			if err != nil || strings.Contains(" "+rosterOf(left)+" ", " "+job+"/") {
				t.Errorf("%s left: %v, %v", job, rosterOf(left), err)
			}
		})
	}
	group.Wait()
	if len(revisions) > n/2 {
		t.Errorf("%d came with %d writes", n, len(revisions))
	}
	now, _, err := feeds.Newest(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	if len(now.Roster) != n || strings.Contains(rosterOf(now), "old") {
		t.Errorf("the roster is %s", rosterOf(now))
	}
}

func TestRunJoinsInPlaceOfTheJobsRunBefore(t *testing.T) {
	feeds := openFeeds(t, brokertest.Start(t))
	if _, err := feeds.Write(t.Context(), &millracev1.Feed{Id: "f", Roster: []*millracev1.RosterEntry{entry("a", 1), entry("b", 1)}}, 0); err != nil {
		t.Fatal(err)
	}
	first, err := feeds.Enrol(t.Context(), "f", entry("a", 2))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := feeds.Enrol(t.Context(), "f", entry("a", 2)); err != nil || again != first {
		t.Errorf("joined twice: %d and %d, %v", first, again, err)
	}
	left, _, err := feeds.Leave(t.Context(), "f", func(e *millracev1.RosterEntry) bool { return e.Job == "a" && e.Run == 1 })
	if err != nil || rosterOf(left) != "b/1 a/2" {
		t.Errorf("%s, %v", rosterOf(left), err)
	}
	if left, _, err := feeds.Leave(t.Context(), "none", func(*millracev1.RosterEntry) bool { return true }); left != nil || err != nil {
		t.Errorf("a feed that is not there: %v, %v", left, err)
	}
}
