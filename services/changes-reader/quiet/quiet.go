// Package quiet wakes the readers of databases in which nothing happens for long: their feeds are closed, and
// one feed of the server, _db_updates, says when there is something to read again (ADR 027).
//
// Nothing depends on what a server announces but how soon a change is seen: a reader that sleeps looks at
// its database now and then all the same, and a server that was found not to announce is not relied on.
package quiet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"millrace/pkg/couch"
)

// Options say when feeds may be closed. What is zero has the default.
type Options struct {
	// Least is how many feeds of a server, with the same credentials, have to be quiet for their readers to
	// sleep, default [DefaultLeast]: a few open connections are cheaper than what closing them costs
	// in time until a change is seen.
	Least int
	// Look is how often the reader of a sleeping feed looks at the database whatever is announced, give or
	// take a quarter; default 2 minutes.
	Look time.Duration
	// Grace is how long a change may take to be announced, default 30 s. CouchDB takes half a second,
	// unless it is told otherwise or has much to do.
	Grace time.Duration
	// Distrust is for how long a server is not relied on that did not announce a change; default 1 hour.
	Distrust time.Duration
	// AskAgain is for how long a server is not asked again that has no _db_updates, or not for us;
	// default 30 minutes.
	AskAgain time.Duration
	// Retry is for how long a server is not asked again that failed, default 1 minute. It
	// doubles with every failure, up to AskAgain.
	Retry time.Duration
	// Openings is how many readers that were woken open their feeds at once, default 16.
	Openings int
	// Log, by default nowhere.
	Log *slog.Logger

	shortWait time.Duration // before a feed of updates is opened again that has just ended; 100 ms
}

// DefaultLeast is as many as the connections that one job may have.
const DefaultLeast = couch.DefaultHTTPConnections

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&o.Look, 2*time.Minute)
	set(&o.Grace, 30*time.Second)
	set(&o.Distrust, time.Hour)
	set(&o.AskAgain, 30*time.Minute)
	set(&o.Retry, time.Minute)
	set(&o.shortWait, 100*time.Millisecond)
	if o.Least <= 0 {
		o.Least = DefaultLeast
	}
	if o.Openings <= 0 {
		o.Openings = 16
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Watch knows the servers whose databases this process reads. It is safe for concurrent use.
type Watch struct {
	o     Options
	group sync.WaitGroup

	mu      sync.Mutex
	servers map[couch.Login]*server
}

// New returns a watch of no server.
func New(o Options) *Watch {
	return &Watch{o: o.withDefaults(), servers: map[couch.Login]*server{}}
}

// Wait waits until nothing is read any more: when all seats are closed.
func (w *Watch) Wait() { w.group.Wait() }

// Seat is the place of a feed that is about to be read. The caller closes it.
func (w *Watch) Seat() *Seat { return &Seat{watch: w} }

// at is the server of the database, which the seat that asks keeps until it leaves.
func (w *Watch) at(db *couch.DB) *server {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.servers[db.Login()]
	if s == nil {
		s = newServer(w)
		w.servers[db.Login()] = s
	}
	s.seats++
	s.use(db)
	return s
}

func (w *Watch) leave(login couch.Login) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.servers[login]
	s.seats--
	if s.seats == 0 {
		delete(w.servers, login)
		s.stop()
	}
}

// start runs what reads a server's updates until ctx ends.
func (w *Watch) start(ctx context.Context, run func(ctx context.Context)) {
	w.group.Add(1)
	go func() {
		defer w.group.Done()
		run(ctx)
	}()
}
