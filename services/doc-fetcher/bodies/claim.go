package bodies

import (
	"context"
	"sync"
)

// Flight is the fetching of a revision that is under way.
type Flight struct {
	claim    *Claim
	question Question
	detached bool // nobody finds it
	returned []Revision
	answered bool
	done     chan struct{}
	// leaves is what came, once done is closed; nil when whoever fetched it gave up.
	leaves []*Leaf
}

// Wait waits until the revision stands in BODIES, or is given up by whoever fetches it: then ok is
// false, and who wants it asks again. So it is where what came depends on what the target has,
// and the question's has something else.
func (f *Flight) Wait(ctx context.Context, q Question) (leaves []*Leaf, ok bool, err error) {
	select {
	case <-f.done:
	default:
		f.claim.await()
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	return f.leaves, f.leaves != nil && fits(f.leaves, f.question.Has, q.Has), nil
}

// Split says who fetches what of the questions of a batch; the numbers are theirs.
type Split struct {
	// Known are answered.
	Known []Known
	// Mine are to be fetched by who asks.
	Mine []int
	// Others are being fetched.
	Others []Other
}

// Known is a question that is answered.
type Known struct {
	Question int
	Leaves   []*Leaf
}

// Other is a question that somebody else is about to have answered.
type Other struct {
	Question int
	Flight   *Flight
}

// Claim is what one batch fetches, for itself and for all who want it meanwhile. Whoever has one
// never waits for somebody else's before it is closed, so that no two can wait for each other.
// It is safe for concurrent use.
type Claim struct {
	index *Index
	feed  *feed
	limit int64

	mu      sync.Mutex
	flights map[Revision]*Flight // not done, by what was asked
	placed  map[Revision]*Leaf
	waiting map[Revision][]*Flight // by a leaf that is not placed yet
	awaited chan struct{}
	called  bool // awaited is closed
}

// Claim splits questions about a feed, and takes on those that nobody else answers. Whoever claims
// calls Close. limit is how many bytes of memory the feed may take of the index; 0 for all.
func (x *Index) Claim(feedID string, questions []Question, limit int64) (*Claim, Split) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.claim(feedID, len(questions), limit)
	var s Split
	for i, q := range questions {
		if a := x.find(c.feed, q); a != nil {
			s.Known = append(s.Known, Known{i, a.leaves})
			continue
		}
		if other := c.feed.flights[q.Revision]; other != nil && other.claim != c {
			s.Others = append(s.Others, Other{i, other})
			continue
		}
		s.Mine = append(s.Mine, i)
		c.take(q, false)
	}
	return c, s
}

// Renew takes on questions whatever is known: what is fetched because it is gone. Nobody waits for
// it, and what comes is known to all.
func (x *Index) Renew(feedID string, questions []Question, limit int64) *Claim {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.claim(feedID, len(questions), limit)
	for _, q := range questions {
		for a := c.feed.answers[q.Revision]; a != nil; a = a.other {
			a.gone = true
		}
		delete(c.feed.answers, q.Revision)
		c.take(q, true)
	}
	return c
}

func (x *Index) claim(feedID string, n int, limit int64) *Claim {
	if limit <= 0 || limit > x.memory {
		limit = x.memory
	}
	return &Claim{
		index: x, feed: x.feed(feedID), limit: limit, awaited: make(chan struct{}),
		flights: make(map[Revision]*Flight, n), placed: make(map[Revision]*Leaf, n), waiting: map[Revision][]*Flight{},
	}
}

// take takes on a question; the index is locked.
func (c *Claim) take(q Question, detached bool) {
	if c.flights[q.Revision] != nil {
		return // the same was asked twice
	}
	f := &Flight{claim: c, question: q, detached: detached, done: make(chan struct{})}
	c.flights[q.Revision] = f
	if !detached {
		c.feed.flights[q.Revision] = f
	}
}

// Awaited is closed when somebody waits for something that this claim has taken on.
func (c *Claim) Awaited() <-chan struct{} { return c.awaited }

func (c *Claim) await() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.called {
		c.called = true
		close(c.awaited)
	}
}

// Answered says which leaves the source returned for a revision: all of them.
func (c *Claim) Answered(asked Revision, leaves []Revision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flights[asked]
	if f == nil || f.answered || len(leaves) == 0 {
		return
	}
	f.answered, f.returned = true, leaves
	if !c.settle(f) {
		for _, r := range leaves {
			c.waiting[r] = append(c.waiting[r], f)
		}
	}
}

// Placed says that leaves stand in BODIES.
func (c *Claim) Placed(leaves ...*Leaf) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range leaves {
		r := l.Revision()
		c.placed[r] = l
		for _, f := range c.waiting[r] {
			c.settle(f)
		}
		delete(c.waiting, r)
	}
}

// settle ends the fetching of a revision if all that the source returned stands in BODIES.
func (c *Claim) settle(f *Flight) bool {
	leaves := make([]*Leaf, len(f.returned))
	for i, r := range f.returned {
		if leaves[i] = c.placed[r]; leaves[i] == nil {
			return false
		}
	}
	if c.flights[f.question.Revision] != f {
		return true
	}
	c.end(f, leaves)
	return true
}

// GiveUp says that revisions that were asked for will not come of this claim, or not soon.
func (c *Claim) GiveUp(asked ...Revision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range asked {
		if f := c.flights[r]; f != nil {
			c.end(f, nil)
		}
	}
}

// Close gives up what has not come.
func (c *Claim) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.flights {
		c.end(f, nil)
	}
}

// end tells all who wait. The claim is locked, and the index is not.
func (c *Claim) end(f *Flight, leaves []*Leaf) {
	delete(c.flights, f.question.Revision)
	c.index.mu.Lock()
	if leaves != nil {
		c.index.put(c.feed, f.question, leaves, c.limit)
	}
	if !f.detached {
		delete(c.feed.flights, f.question.Revision)
	}
	c.index.mu.Unlock()
	f.leaves = leaves
	close(f.done)
}
