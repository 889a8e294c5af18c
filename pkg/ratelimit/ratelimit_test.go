package ratelimit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var key = Key{URL: "http://h/db/", Method: "GET"}

// clock is a time that tests set.
type clock struct{ at time.Time }

func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func limiter() (*Limiter, *clock) {
	c := &clock{at: time.Unix(1_700_000_000, 0)}
	return New(c.now), c
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func is(t *testing.T, got, want time.Duration) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// The vectors of couch_replicator_rate_limiter_tests, by their names there.
func TestCouchDBsVectors(t *testing.T) {
	apart := ms(100)
	t.Run("t_new_key", func(t *testing.T) {
		l, _ := limiter()
		is(t, l.Interval(key), 0)
	})
	t.Run("t_1_failure", func(t *testing.T) {
		l, _ := limiter()
		is(t, l.Failure(key, 0), ms(24))
	})
	t.Run("t_2_failures_back_to_back", func(t *testing.T) {
		l, _ := limiter()
		l.Failure(key, 0)
		is(t, l.Failure(key, 0), ms(24))
	})
	t.Run("t_2_failures", func(t *testing.T) {
		l, c := limiter()
		l.Failure(key, 0)
		c.pass(apart)
		is(t, l.Failure(key, 0), ms(29))
	})
	t.Run("t_success_threshold", func(t *testing.T) {
		l, _ := limiter()
		is(t, l.Success(key), 0)
		is(t, l.Success(key), 0)
	})
	t.Run("t_1_failure_2_successes", func(t *testing.T) {
		l, c := limiter()
		l.Failure(key, 0)
		c.pass(apart)
		is(t, l.Success(key), ms(20))
		c.pass(apart)
		is(t, l.Success(key), 0)
	})
}

func TestStepsOfSuccesses(t *testing.T) {
	for _, test := range []struct{ from, to time.Duration }{
		{ms(100), ms(80)}, {ms(101), ms(61)}, {ms(1000), ms(960)}, {ms(1001), ms(901)}, {ms(10_001), ms(9_001)}, {ms(21), ms(20)}, {ms(20), 0},
	} {
		l, c := limiter()
		l.known[key] = &rate{interval: test.from, changed: c.at}
		is(t, l.Success(key), test.from) // too early to count
		c.pass(ms(81))
		is(t, l.Success(key), test.to)
	}
}

func TestIntervalThatIsOldCountsForLess(t *testing.T) {
	l, c := limiter()
	l.known[key] = &rate{interval: ms(5000), changed: c.at}
	c.pass(ms(1500))
	is(t, l.Success(key), ms(5000-3000-100))
	c.pass(ms(1001))
	is(t, l.Success(key), 0)
}

func TestServerThatOnlyRefusesIsGivenUp(t *testing.T) {
	l, c := limiter()
	refusals := 0
	began := c.at
	for {
		wait, ok := l.Admit(key)
		if !ok {
			break
		}
		if wait > 0 {
			c.pass(wait)
			continue
		}
		l.Failure(key, 0)
		refusals++
		c.pass(ms(81)) // less often than the window
	}
	if took := c.at.Sub(began); refusals != 40 || took < 145*time.Second || took > 155*time.Second {
		t.Fatalf("%d refusals in %v, want 40 in about 148 s", refusals, took)
	}
	c.pass(MaxInterval - ms(81))
	if _, ok := l.Admit(key); ok {
		t.Fatal("it is left alone for a while")
	}
	c.pass(ms(1))
	if wait, ok := l.Admit(key); !ok || wait != 0 {
		t.Fatal("then it is asked again")
	}
}

func TestRetryAfterHoldsBackEverybody(t *testing.T) {
	l, c := limiter()
	l.Failure(key, 3*time.Second)
	wait, _ := l.Admit(key)
	is(t, wait, 3*time.Second)
	if wait, ok := l.Admit(Key{URL: key.URL, Method: "POST"}); !ok || wait != 0 {
		t.Fatal("others are not concerned")
	}
	c.pass(2 * time.Second)
	is(t, l.Success(key), ms(24)) // of a request that was sent before
	wait, _ = l.Admit(key)
	is(t, wait, time.Second)
	c.pass(time.Second)
	wait, _ = l.Admit(key)
	is(t, wait, 0)
	wait, _ = l.Admit(key) // and they do not all come back at once
	is(t, wait, ms(24))
}

func TestRetryAfterThatIsTooLongGivesUp(t *testing.T) {
	l, c := limiter()
	l.Failure(key, time.Hour)
	c.pass(time.Minute)
	wait, ok := l.Admit(key)
	if ok || wait != 59*time.Minute {
		t.Fatalf("%v %v", wait, ok)
	}
}

func TestTimeThatRequestsAreHeldBackDoesNotAgeTheInterval(t *testing.T) {
	l, c := limiter()
	l.known[key] = &rate{interval: ms(5000), changed: c.at, last: c.at}
	c.pass(ms(5000))
	wait, _ := l.Admit(key)
	is(t, wait, 0)
	c.pass(ms(10))
	is(t, l.Success(key), ms(4900))
}

func TestWhatNobodyAsksForIsForgotten(t *testing.T) {
	l, c := limiter()
	for i := range 1000 {
		l.Failure(Key{URL: string(rune(i))}, 0)
	}
	c.pass(3 * MaxInterval)
	l.Failure(key, 0)
	if len(l.known) != 1 {
		t.Fatalf("%d are known", len(l.known))
	}
}

// Whatever is asked and answered, two requests are never closer than the interval that stood
// when the later of them was let through, and none is let through that is held back.
func TestRequestsAreSpaced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, c := limiter()
		var last time.Time
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if l.Interval(key) == 0 { // it has forgotten
				last = time.Time{}
			}
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				l.Failure(key, ms(rapid.IntRange(0, 5000).Draw(t, "asked")))
			case 1:
				before := l.Interval(key)
				if l.Success(key) > before {
					t.Fatal("a success makes slower")
				}
			case 2:
				c.pass(ms(rapid.IntRange(0, 3000).Draw(t, "passed")))
			default:
				interval := l.Interval(key)
				wait, ok := l.Admit(key)
				if !ok || wait > 0 {
					continue
				}
				if c.at.Sub(last) < interval {
					t.Fatalf("%v after another, want %v", c.at.Sub(last), interval)
				}
				if r := l.known[key]; r != nil && c.at.Before(r.held) {
					t.Fatal("let through though it is held back")
				}
				last = c.at
			}
		}
	})
}
