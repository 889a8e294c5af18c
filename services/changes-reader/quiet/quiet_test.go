package quiet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"millrace/pkg/couch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// never is for what must not happen in a test.
const never = time.Hour

// tower is a server that has nothing but updates.
type tower struct {
	*httptest.Server
	pool *couch.Pool

	mu     sync.Mutex
	asked  int  // for its last seq
	opened int  // feeds, ever
	open   int  // feeds, now
	status int  // if not 0, what it answers
	brief  bool // feeds end at once
	say    chan string
}

func newTower(t *testing.T) *tower {
	t.Helper()
	w := &tower{pool: couch.NewPool(nil), say: make(chan string)}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

// ServeHTTP implements http.Handler.
func (w *tower) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	feed := r.URL.Query().Get("feed") == "continuous"
	if feed {
		w.opened++
		w.open++
	} else {
		w.asked++
	}
	status, brief := w.status, w.brief
	w.mu.Unlock()
	switch {
	case r.URL.Path != "/_db_updates":
		rw.WriteHeader(http.StatusNotFound)
		return
	case status != 0:
		rw.WriteHeader(status)
	case !feed:
		_, _ = io.WriteString(rw, `{"results":[],"last_seq":"1-x"}`)
		return
	case brief:
		_, _ = io.WriteString(rw, `{"last_seq":"1-x"}`+"\n")
	}
	for status == 0 && !brief && r.Context().Err() == nil {
		select {
		case name := <-w.say:
			_, _ = fmt.Fprintf(rw, `{"db_name":%q,"type":"updated","seq":"2-x"}`+"\n", name)
		case <-time.After(5 * time.Millisecond):
			_, _ = io.WriteString(rw, "\n")
		case <-r.Context().Done():
		}
		_ = http.NewResponseController(rw).Flush()
	}
	if feed {
		w.mu.Lock()
		w.open--
		w.mu.Unlock()
	}
}

func (w *tower) answers(status int, brief bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status, w.brief = status, brief
}

func (w *tower) counts() (asked, opened, open int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked, w.opened, w.open
}

// seats are those of n databases, for user.
func (w *tower) seats(t *testing.T, watch *Watch, user string, n int) []*Seat {
	t.Helper()
	var seats []*Seat
	for i := range n {
		ep := couch.Endpoint{URL: fmt.Sprintf("%s/db%d", w.URL, i), Headers: http.Header{"X-User": {user}}}
		db, err := w.pool.Open(ep, couch.Options{Retries: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		seat := watch.Seat()
		t.Cleanup(seat.Close)
		seat.At(db)
		seats = append(seats, seat)
	}
	return seats
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// newWatch waits for all that it does once the seats are closed, when the test ends.
func newWatch(t *testing.T, o Options) *Watch {
	w := New(o)
	t.Cleanup(w.Wait)
	return w
}

func nothing(context.Context) (rows, moved bool, err error) { return false, false, nil }

func TestFewQuietFeedsAreNotWorthAQuestion(t *testing.T) {
	w := newTower(t)
	seats := w.seats(t, newWatch(t, Options{Least: 3}), "", 4)
	seats[0].Quiet()
	seats[1].Quiet()
	seats[1].Quiet() // counts once
	seats[2].Quiet()
	seats[2].Busy()
	if seats[1].Quiet() {
		t.Error("two feeds may sleep")
	}
	if asked, _, _ := w.counts(); asked > 1 { // at the third
		t.Errorf("asked %d times", asked)
	}
	seats[3].Quiet()
	await(t, "the server to be heard", seats[0].Quiet)
}

func TestUpdatesAreFollowedWhileTheyAreOfUse(t *testing.T) {
	w := newTower(t)
	seats := w.seats(t, newWatch(t, Options{Least: 2}), "", 2)
	all := func() bool { seats[0].Quiet(); return seats[1].Quiet() }
	await(t, "the server to be heard", all)
	await(t, "a feed", func() bool { _, _, open := w.counts(); return open == 1 })
	seats[0].Busy()
	await(t, "the feed to be closed", func() bool { _, _, open := w.counts(); return open == 0 })
	await(t, "the server to be heard again", all)
	slept := make(chan bool)
	go func() {
		announced, err := seats[0].Sleep(t.Context(), "db0", nothing)
		slept <- announced && err == nil
	}()
	s := seats[1].server
	await(t, "sleep", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.asleep) == 1 })
	seats[1].Busy() // one sleeps all the same
	w.say <- "another"
	w.say <- "db0"
	if !<-slept {
		t.Error("not woken by its name")
	}
}

func TestEachCredentialIsToldApart(t *testing.T) {
	w := newTower(t)
	watch := newWatch(t, Options{Least: 1})
	other := w.seats(t, watch, "other", 2)
	one := w.seats(t, watch, "one", 2)
	for _, s := range append(one, other...) {
		await(t, "the server to be heard", s.Quiet)
	}
	await(t, "two feeds", func() bool { _, opened, open := w.counts(); return opened == 2 && open == 2 })
}

func TestWhatALookFindsEndsSleep(t *testing.T) {
	w := newTower(t)
	seat := w.seats(t, newWatch(t, Options{Least: 1, Look: time.Millisecond, Grace: never}), "", 1)[0]
	broken := errors.New("broken")
	for name, at := range map[string]int{"at once": 1, "later": 3} {
		for result, look := range map[string]func() (bool, bool, error){
			"rows":  func() (bool, bool, error) { return true, true, nil },
			"seq":   func() (bool, bool, error) { return false, true, nil },
			"error": func() (bool, bool, error) { return false, false, broken },
		} {
			await(t, "the server to be heard", seat.Quiet)
			looks := 0
			announced, err := seat.Sleep(t.Context(), "db0", func(context.Context) (bool, bool, error) {
				if looks++; looks < at {
					return false, false, nil
				}
				return look()
			})
			if announced || looks != at || (err == broken) != (result == "error") {
				t.Errorf("%s %s: %v, %v after %d looks", result, name, announced, err, looks)
			}
		}
	}
}

func TestServerThatFailsIsAskedAgainMoreAndMoreRarely(t *testing.T) {
	s := newServer(New(Options{Retry: time.Minute, AskAgain: 5 * time.Minute}))
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		if got := s.retryAfter(); got != want*time.Minute {
			t.Errorf("after %v, want %v min", got, int(want))
		}
	}
	s.answered()
	if got := s.retryAfter(); got != time.Minute {
		t.Errorf("after an answer: %v", got)
	}
}

func TestServerWithoutUpdatesForUsIsLeftAlone(t *testing.T) {
	for _, status := range []int{401, 403, 404, 405, 501} {
		w := newTower(t)
		w.answers(status, false)
		seat := w.seats(t, newWatch(t, Options{Least: 1, Retry: time.Nanosecond, AskAgain: never}), "", 1)[0]
		following := func() bool {
			seat.server.mu.Lock()
			defer seat.server.mu.Unlock()
			return seat.server.following
		}
		seat.Quiet()
		await(t, "the answer", func() bool { return !following() })
		if seat.Quiet() || following() {
			t.Errorf("%d: asked again at once", status)
		}
	}
}

func TestServerThatFailedIsAskedAgain(t *testing.T) {
	w := newTower(t)
	w.answers(http.StatusInternalServerError, false)
	seat := w.seats(t, newWatch(t, Options{Least: 1, Retry: time.Nanosecond, AskAgain: never}), "", 1)[0]
	await(t, "some questions", func() bool { seat.Quiet(); asked, _, _ := w.counts(); return asked > 2 })
	w.answers(0, false)
	await(t, "the server to be heard", seat.Quiet)
}

// A feed that ends again and again wakes who sleeps.
func TestFeedThatDoesNotLastIsGivenUp(t *testing.T) {
	w := newTower(t)
	w.answers(0, true)
	seat := w.seats(t, newWatch(t, Options{Least: 1, Retry: never, shortWait: time.Millisecond}), "", 1)[0]
	await(t, "the server to be heard", seat.Quiet)
	if announced, err := seat.Sleep(t.Context(), "db0", nothing); announced || err != nil {
		t.Errorf("%v, %v", announced, err)
	}
	if seat.Quiet() {
		t.Error("the server is relied on at once")
	}
}

func TestOpeningsAreBounded(t *testing.T) {
	w := newTower(t)
	seats := w.seats(t, newWatch(t, Options{Openings: 2}), "", 20)
	var open, most atomic.Int32
	var group sync.WaitGroup
	for _, s := range seats {
		group.Go(func() {
			opened, err := s.Open(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			for n := open.Add(1); ; {
				m := most.Load()
				if n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			open.Add(-1)
			opened()
		})
	}
	group.Wait()
	if most.Load() > 2 {
		t.Errorf("%d at once", most.Load())
	}
	for range 2 {
		if _, err := seats[0].Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := errors.New("ended")
	cancel(ended)
	if _, err := seats[0].Open(ctx); err != ended {
		t.Errorf("got %v", err)
	}
}

func TestOnlyAChangeThatShouldHaveBeenAnnouncedIsSuspicious(t *testing.T) {
	for name, c := range map[string]struct {
		between func(s *server, b *bed)
		silent  bool
	}{
		"nothing":                   {func(*server, *bed) {}, true},
		"the updates were cut":      {func(s *server, _ *bed) { s.doubt() }, false},
		"cut, and looked since":     {func(s *server, b *bed) { s.doubt(); b.cuts = s.cutSoFar() }, true},
		"it was announced just now": {func(s *server, b *bed) { s.announce(b.name) }, false},
		"another one was":           {func(s *server, b *bed) { s.announce(b.name + "x") }, true},
		"nothing is heard any more": {func(s *server, _ *bed) { s.end(0) }, false},
	} {
		s := newServer(New(Options{Least: 1, Grace: time.Nanosecond}))
		s.heard()
		b, ok := s.lie("db")
		if !ok {
			t.Fatal("not heard")
		}
		c.between(s, b)
		s.expect(b)
		s.rise(b)                    // and nobody else sleeps
		time.Sleep(time.Microsecond) // for the clock to move
		if silent := s.over() == errSilent; silent != c.silent {
			t.Errorf("%s: silent is %v", name, silent)
		}
		s.announce("db")
		if s.over() == errSilent {
			t.Errorf("%s: silent, although it was announced", name)
		}
	}
}

// Whatever the order of writes, of their announcements, and of going to bed: what the first look does not see
// wakes. The announcement of a write comes after it.
func TestEveryWriteIsSeenOrWakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newServer(New(Options{}))
		s.heard()
		var b *bed
		written, pending, seen := 0, 0, -1
		for _, step := range rapid.SliceOf(rapid.SampledFrom([]string{"write", "announce", "next"})).Draw(t, "steps") {
			switch {
			case step == "write":
				written++
				pending++
			case step == "announce" && pending > 0:
				pending = 0 // each name once
				s.announce("db")
			case step == "next" && b == nil:
				b, _ = s.lie("db")
			case step == "next" && seen < 0:
				seen = written
			}
		}
		if pending > 0 {
			s.announce("db")
		}
		if seen >= 0 && seen < written && len(b.announced) == 0 {
			t.Fatalf("%d of %d seen, and nobody woken", seen, written)
		}
	})
}
