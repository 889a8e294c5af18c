package revsdiff

import (
	"sync"
	"time"
)

// CouchDB's figures (couch_replicator_worker.erl): asking is skipped while
// more than 95 % of what was asked about was missing, with a weight of 0.4 for the
// newest answer, and tried again after 37 seconds.
const (
	skipAbove  = 0.95
	weight     = 0.4
	askAtLeast = 37 * time.Second
)

// skip decides for one run whether the target is asked which revisions it
// lacks. While it lacks nearly everything, asking costs a round trip and the
// target's time and tells nothing; writing a revision that is there already
// changes nothing (invariant 2). It is a cache: a new instance of the stage
// starts by asking.
type skip struct {
	mu    sync.Mutex
	ratio float64
	asked time.Time
}

// ask reports whether to ask now.
func (s *skip) ask(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ratio <= skipAbove || now.Sub(s.asked) > askAtLeast
}

// learn takes in an answer: of revs asked about, how many were missing without a
// possible ancestor.
func (s *skip) learn(now time.Time, revs, missing int) {
	if revs == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = now
	s.ratio += weight * (float64(missing)/float64(revs) - s.ratio)
}
