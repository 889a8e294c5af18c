package quiet

import (
	"context"
	"errors"
	"io"
	"time"

	"millrace/pkg/couch"
	"millrace/pkg/pause"
)

var (
	errUnused = errors.New("nobody needs the updates")
	errSilent = errors.New("a change was not announced")
)

const (
	// A feed of updates that does not last for shortly is opened again after a wait, which doubles, and given
	// up when that has happened so often in a row.
	shortly   = 5 * time.Second
	shortMost = 6
)

// follow reads the server's updates while they are of use.
func (s *server) follow(ctx context.Context) {
	db := s.database()
	log := s.o.Log.With("server", db)
	seq, err := db.UpdatesSeq(ctx)
	if err != nil {
		wait := s.o.AskAgain
		if couch.Classify(err) != couch.Permanent {
			wait = s.retryAfter()
		}
		log.InfoContext(ctx, "quiet feeds stay open: the server does not tell of its updates", "error", err, "askedAgainAfter", wait)
		s.end(wait)
		return
	}
	s.heard()
	log.InfoContext(ctx, "the server tells of its updates: quiet feeds are closed")
	switch err = s.keep(ctx, seq); {
	case ctx.Err() != nil, errors.Is(err, errUnused):
		s.end(0)
	case errors.Is(err, errSilent):
		log.WarnContext(ctx, "quiet feeds stay open: the server did not tell of a change", "for", s.o.Distrust)
		s.end(s.o.Distrust)
	default:
		wait := s.retryAfter()
		log.WarnContext(ctx, "quiet feeds are opened: the server's updates cannot be read", "error", err, "askedAgainAfter", wait)
		s.end(wait)
	}
}

// retryAfter is how long to wait after a failure.
func (s *server) retryAfter() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	return min(s.o.Retry<<min(s.failures-1, 16), s.o.AskAgain)
}

func (s *server) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hears = true
}

// keep reads the updates since seq, and after every cut goes on where it was: what was announced meanwhile
// comes then. The error is that of a feed that cannot be opened, or why it is not to be.
func (s *server) keep(ctx context.Context, seq couch.Seq) error {
	for short := 0; ; {
		began := time.Now()
		opened, err := s.read(ctx, &seq)
		switch {
		case errors.Is(err, errUnused), errors.Is(err, errSilent), ctx.Err() != nil, !opened:
			return err
		case err != nil:
			s.doubt()
		}
		if short++; time.Since(began) >= shortly {
			short = 0
		}
		if short >= shortMost {
			return errors.Join(errors.New("the feed of updates does not last"), err)
		}
		if err := pause.For(ctx, s.o.shortWait<<short); err != nil {
			return err
		}
	}
}

// read follows the updates and moves seq over those that it has heard. Its error is nil when
// the server has ended the feed in order.
func (s *server) read(ctx context.Context, seq *couch.Seq) (opened bool, err error) {
	var u *couch.Updates
	u, err = s.database().Updates(ctx, *seq, func() {
		if s.over() != nil {
			_ = u.Close() // ends Next
		}
	})
	if err != nil {
		return false, err
	}
	defer u.Close() //nolint:errcheck // nothing is written
	s.answered()
	for {
		update, err := u.Next()
		if over := s.over(); over != nil {
			return true, over
		}
		if err == io.EOF {
			move(seq, u.LastSeq())
			return true, nil
		}
		if err != nil {
			return true, err
		}
		move(seq, update.Seq)
		s.announce(update.Name)
	}
}

func move(seq *couch.Seq, to couch.Seq) {
	if !to.IsNull() {
		*seq = to
	}
}

// answered forgets failures.
func (s *server) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = 0
}

// over says why the updates are not to be read any more, if they are not. It is looked at with every update and
// heartbeat.
func (s *server) over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, until := range s.expected {
		if now.After(until) {
			return errSilent
		}
	}
	// Who waits to hear of a change is awake, and perhaps nobody else sleeps.
	if len(s.expected) == 0 && len(s.asleep) == 0 && s.quiet < s.o.Least {
		return errUnused
	}
	return nil
}
