// Package ratelimit finds out how often a server that refuses requests with 429 may be
// asked. It is the additive-increase, multiplicative-decrease control of CouchDB's replicator
// (couch_replicator_rate_limiter): an interval per database and method, which grows by
// a fifth at each refusal and shrinks by steps at each success.
//
// In CouchDB each request sleeps for the interval before it is sent, so the rate still grows
// with the number of requests under way. Here the interval is between any two requests
// of the process, whoever sends them: however many jobs and connections there are, the server
// is asked no more often. A Retry-After holds back all of them.
//
// A limiter knows about servers that refuse and forgets them when they have not been heard of for
// [MaxInterval]. Every call costs O(1) but for an occasional sweep.
package ratelimit

import (
	"math"
	"sync"
	"time"
)

// The parameters of the algorithm, which are CouchDB's.
const (
	// baseInterval is what a first refusal starts from, and the step of successes.
	baseInterval = 20 * time.Millisecond
	// factor is what a refusal multiplies the interval by.
	factor = 1.2
	// MaxInterval is where the attempt is given up: 40 refusals, or about 148 s, from the first.
	MaxInterval = 25 * time.Second
	// window is how long after a change others have no effect: requests that were under way
	// together are one refusal.
	window = 80 * time.Millisecond
	// decayAfter is how old an interval has to be to count for less with time. In CouchDB the
	// time that a request was held back counts as well, so that an interval of more than a second is
	// forgotten at the first success, and found again by a dozen refusals.
	decayAfter = time.Second
	// decay is by how much it then shrinks in a time.
	decay = 2
)

// MaxHold is the longest Retry-After that requests wait for; who is asked to wait for longer
// gives up the attempt.
const MaxHold = 150 * time.Second

// Key is what has a rate of its own: a database and a method, as in CouchDB.
type Key struct {
	// URL of the database, without secrets.
	URL    string
	Method string
}

// Limiter is the rates of a process. It is safe for concurrent use.
type Limiter struct {
	now func() time.Time

	mu    sync.Mutex
	known map[Key]*rate
	swept time.Time
}

// rate is what is known of a server that has refused.
type rate struct {
	interval time.Duration // whole milliseconds
	changed  time.Time
	held     time.Time // no request before this
	last     time.Time // when the newest request was let through, or refused
}

// New returns a limiter with a clock.
func New(now func() time.Time) *Limiter {
	return &Limiter{now: now, known: map[Key]*rate{}}
}

// Interval is the present interval between two requests; zero for none.
func (l *Limiter) Interval(key Key) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.find(key, l.now()); r != nil {
		return r.interval
	}
	return 0
}

// find returns what is known of the key, unless that is too old to mean anything.
func (l *Limiter) find(key Key, now time.Time) *rate {
	r := l.known[key]
	if r != nil && r.stale(now) {
		delete(l.known, key)
		return nil
	}
	return r
}

func (r *rate) stale(now time.Time) bool {
	return now.Sub(r.changed) > MaxInterval && now.Sub(r.last) > MaxInterval && now.After(r.held)
}

// Failure is told of a 429, and of how long the server asks to wait; zero if it does not say.
// It returns the new interval.
func (l *Limiter) Failure(key Key, asked time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.sweep(now)
	r := l.find(key, now)
	if r == nil {
		r = &rate{}
		l.known[key] = r
	}
	r.last = now
	if until := now.Add(asked); asked > 0 && until.After(r.held) {
		r.held = until
	}
	if now.Sub(r.changed) > window {
		r.interval = milliseconds(math.Round(float64(max(r.interval, baseInterval).Milliseconds()) * factor))
		r.interval = min(r.interval, MaxInterval)
		r.changed = now
	}
	return r.interval
}

func milliseconds(n float64) time.Duration { return time.Duration(n) * time.Millisecond }

// Success is told of an answer that is no 429. It returns the new interval.
func (l *Limiter) Success(key Key) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	r := l.find(key, now)
	switch {
	case r == nil:
		return 0
	case now.Sub(r.changed) <= window, now.Before(r.held):
		return r.interval // it was sent before the refusal
	}
	interval := r.interval
	if since := now.Sub(latest(r.changed, r.last)).Truncate(time.Millisecond); since > decayAfter {
		interval = max(0, interval-decay*since)
	}
	interval -= step(interval)
	if interval <= 0 {
		delete(l.known, key)
		return 0
	}
	r.interval, r.changed = max(interval, baseInterval), now
	return r.interval
}

// step is how much a success takes off: more near the limit, because reaching it ends the attempt.
func step(interval time.Duration) time.Duration {
	switch {
	case interval > 10*time.Second:
		return 50 * baseInterval
	case interval > time.Second:
		return 5 * baseInterval
	case interval > 100*time.Millisecond:
		return 2 * baseInterval
	}
	return baseInterval
}

// Admit lets a request through, if its time has come: wait is then zero. Otherwise it is how long to
// wait before asking again; another request may be let through meanwhile, or refused. ok is false
// where the server refuses so much that the attempt is to be given up; wait is then how
// long it asks to be left alone.
func (l *Limiter) Admit(key Key) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	r := l.find(key, now)
	if r == nil {
		return 0, true
	}
	held := r.held.Sub(now)
	if r.interval >= MaxInterval || held > MaxHold {
		return max(0, held), false
	}
	if wait := latest(r.last.Add(r.interval), r.held).Sub(now); wait > 0 {
		return wait, true
	}
	r.last = now
	return 0, true
}

func latest(times ...time.Time) (t time.Time) {
	for _, other := range times {
		if other.After(t) {
			t = other
		}
	}
	return t
}

// sweep forgets what nobody asks for any more.
func (l *Limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < 2*MaxInterval {
		return
	}
	l.swept = now
	for key, r := range l.known {
		if r.stale(now) {
			delete(l.known, key)
		}
	}
}
