package quiet

import (
	"context"
	"math/rand/v2"
	"time"

	"millrace/pkg/couch"
)

// Seat is the place of one feed among those of its server. It is for one goroutine.
type Seat struct {
	watch  *Watch
	server *server // nil before the first At
	login  couch.Login
	quiet  bool
}

// At says that the feed is read through db from now on, and is busy.
func (s *Seat) At(db *couch.DB) {
	s.Busy()
	if s.server != nil && s.login == db.Login() {
		s.server.use(db)
		return
	}
	s.Close()
	s.server, s.login = s.watch.at(db), db.Login()
}

// Close gives the seat up.
func (s *Seat) Close() {
	if s.server == nil {
		return
	}
	s.Busy()
	s.watch.leave(s.login)
	s.server = nil
}

// Busy says that there was something in the feed.
func (s *Seat) Busy() {
	if s.quiet {
		s.quiet = false
		s.server.calm(-1)
	}
}

// Quiet says that there has been nothing in the feed for a while, and reports whether its reader may
// sleep. It does not wait: whether the server announces updates is found out meanwhile.
func (s *Seat) Quiet() bool {
	if !s.quiet {
		s.quiet = true
		s.server.calm(1)
	}
	return s.server.offers()
}

// Open waits until the feed may be opened again: those that were woken together do it one after the other.
// The caller calls opened when the server has answered.
func (s *Seat) Open(ctx context.Context) (opened func(), err error) {
	select {
	case s.server.openings <- struct{}{}:
		return func() { <-s.server.openings }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Look reads what there is to read in a database, from where its feed was closed. It reports whether there
// were rows, or at least another seq.
type Look func(ctx context.Context) (rows, moved bool, err error)

// Sleep waits until there is reason to read the feed again, which the caller has closed: the server names
// the database, as it calls it, or has stopped to say anything; a look has found something, or
// failed. announced is true in the first case.
//
// What is announced after a moment is heard from the moment on that the database is on the list; what was
// written before that is seen by the look that follows. So nothing falls in between.
func (s *Seat) Sleep(ctx context.Context, name string, look Look) (announced bool, err error) {
	bed, ok := s.server.lie(name)
	if !ok {
		return false, nil
	}
	defer s.server.rise(bed)
	if rows, moved, err := look(ctx); rows || moved || err != nil {
		return false, err
	}
	s.watch.o.Log.DebugContext(ctx, "feed sleeps", "database", name)
	next := time.NewTimer(s.untilLook())
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-bed.announced:
			return true, nil
		case <-bed.roused:
			return false, nil
		case <-bed.doubt:
			next.Reset(rand.N(s.watch.o.Look / 4))
			continue
		case <-next.C:
		}
		cuts := s.server.cutSoFar()
		rows, moved, err := look(ctx)
		if rows {
			s.server.expect(bed)
		}
		if rows || moved || err != nil {
			return false, err
		}
		bed.cuts = cuts // those during the look may have hidden what it came too early for
		next.Reset(s.untilLook())
	}
}

// untilLook is different for each look: those who fell asleep together do not look together.
func (s *Seat) untilLook() time.Duration {
	o := s.watch.o
	return o.Look - o.Look/4 + rand.N(o.Look/2)
}
