package quiet

import (
	"context"
	"sync"
	"time"

	"millrace/pkg/couch"
)

// server is what is known of a server, as one credential sees it.
type server struct {
	watch    *Watch
	o        Options
	seats    int // those that keep it; under the watch's lock
	openings chan struct{}
	ctx      context.Context
	stop     context.CancelFunc

	mu sync.Mutex
	db *couch.DB // the one that was opened last
	// quiet is how many feeds are quiet, of which some sleep.
	quiet  int
	asleep map[string]map[*bed]struct{} // by the database's name
	// following says that the updates are read, or about to be; hears that what is announced from now on is
	// heard.
	following, hears bool
	notBefore        time.Time // when the server is asked again
	failures         int       // since it last answered
	// expected are changes that were found and have to be announced until then.
	expected map[string]time.Time
	// cuts is how often what was announced may have been lost.
	cuts int
}

// bed is a reader that sleeps.
type bed struct {
	name                     string
	announced, roused, doubt chan struct{}
	cuts                     int // of the server, before the last look
}

func newServer(w *Watch) *server {
	s := &server{
		watch: w, o: w.o, openings: make(chan struct{}, w.o.Openings),
		asleep: map[string]map[*bed]struct{}{}, expected: map[string]time.Time{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background()) // ends with the last seat
	return s
}

func (s *server) use(db *couch.DB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.db = db
}

func (s *server) database() *couch.DB {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db
}

// calm counts the feeds that are quiet.
func (s *server) calm(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet += by
}

// offers reports whether readers may rely on the server's updates. Where that is not known, and enough
// feeds are quiet for it to be of use, it is found out.
func (s *server) offers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.quiet < s.o.Least, time.Now().Before(s.notBefore):
		return false
	case !s.following:
		s.following = true
		s.watch.start(s.ctx, s.follow)
	}
	return s.hears
}

// lie puts a reader on the list of those that sleep, if updates are heard.
func (s *server) lie(name string) (*bed, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hears {
		return nil, false
	}
	b := &bed{
		name: name, cuts: s.cuts,
		announced: make(chan struct{}, 1), roused: make(chan struct{}, 1), doubt: make(chan struct{}, 1),
	}
	if s.asleep[name] == nil {
		s.asleep[name] = map[*bed]struct{}{}
	}
	s.asleep[name][b] = struct{}{}
	return b, true
}

func (s *server) rise(b *bed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asleep[b.name], b)
	if len(s.asleep[b.name]) == 0 {
		delete(s.asleep, b.name)
	}
}

// signal does not wait: one that was not taken yet says as much as two.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// announce wakes those who read the database.
func (s *server) announce(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.expected, name)
	for b := range s.asleep[name] {
		signal(b.announced)
	}
}

// all signals everybody who sleeps. The lock is held.
func (s *server) all(channel func(*bed) chan struct{}) {
	for _, beds := range s.asleep {
		for b := range beds {
			signal(channel(b))
		}
	}
}

// doubt has everybody look soon: a server that was ended may have forgotten what it was about to announce,
// and that is no reason to distrust it.
func (s *server) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts++
	clear(s.expected)
	s.all(func(b *bed) chan struct{} { return b.doubt })
}

func (s *server) cutSoFar() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cuts
}

// expect notes that a look has found what was not announced yet.
func (s *server) expect(b *bed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hears && b.cuts == s.cuts && len(b.announced) == 0 {
		s.expected[b.name] = time.Now().Add(s.o.Grace)
	}
}

// end says that updates are not heard any more, and wakes everybody.
func (s *server) end(wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.following, s.hears = false, false
	s.notBefore = time.Now().Add(wait)
	clear(s.expected)
	s.all(func(b *bed) chan struct{} { return b.roused })
}
