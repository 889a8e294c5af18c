package couch

import (
	"net/http"
	"net/url"
	"sync"
	"time"
)

// sessionCookie is the name of CouchDB's cookie.
const sessionCookie = "AuthSession"

// sessionRefresh is when a session without a Max-Age is renewed; CouchDB's own
// default is to end sessions after 600 s.
const sessionRefresh = 550 * time.Second

// maxAge bounds what a server may say of a session's life, in seconds: a year.
const maxAge = 365 * 24 * 3600

// renewalPause is between two replacements of sessions, or tokens, that were refused, as in
// CouchDB's replicator: a log-in for every request would not help a user who lacks the right.
const renewalPause = 5 * time.Second

// sessionJar keeps the session cookie of one server, as an http.CookieJar. It
// forgets the cookie when a tenth of its life is left, upon which kivik logs in
// again before the server refuses. Other cookies are ignored, as CouchDB's
// replicator does. (net/http/cookiejar hides a cookie's age, and drops by path,
// which does not find the cookie again below a base path.)
type sessionJar struct {
	root *url.URL
	now  func() time.Time

	mu      sync.Mutex
	value   string    // empty for none
	before  time.Time // when it is to be renewed
	dropped time.Time // when one was last dropped because it was refused
	proven  time.Time // when the server last said that it knows the session
}

func newSessionJar(root *url.URL) *sessionJar { return &sessionJar{root: root, now: time.Now} }

// SetCookies implements [http.CookieJar].
func (j *sessionJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	if !sameServer(j.root, u) {
		return
	}
	for _, c := range cookies {
		if c.Name == sessionCookie {
			j.set(c)
		}
	}
}

// set takes a new session. One that is over is passed over: kivik drops the present session
// at every 401, also when the refused request had carried an earlier one, so that requests that
// come back together would each log in. [sessionJar.refused] decides that instead.
func (j *sessionJar) set(c *http.Cookie) {
	now := j.now()
	life := sessionRefresh
	switch {
	case c.MaxAge < 0 || c.Value == "":
		return
	case c.MaxAge > 0:
		life = time.Duration(min(c.MaxAge, maxAge)) * time.Second / 10 * 9
	case !c.Expires.IsZero():
		life = c.Expires.Sub(now) / 10 * 9
	}
	if life <= 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.value, j.before = c.Value, now.Add(life)
}

// Cookies implements [http.CookieJar].
func (j *sessionJar) Cookies(u *url.URL) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.value == "" || !sameServer(j.root, u) || !j.now().Before(j.before) {
		return nil
	}
	return []*http.Cookie{{Name: sessionCookie, Value: j.value}}
}

// refused is told that the server does not take a session, and says whether to send again: with
// the session that has taken its place, or with a new one, once in a while.
func (j *sessionJar) refused(sent string) (again bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.value != sent {
		return true
	}
	now := j.now()
	if sent == "" || now.Sub(j.dropped) < renewalPause {
		return false
	}
	j.value, j.dropped = "", now
	return true
}

// sound is told that the server knows the session.
func (j *sessionJar) sound(sent string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.value == sent {
		j.proven = j.now()
	}
}

// isSound reports whether the server knew the session a moment ago.
func (j *sessionJar) isSound() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.value != "" && j.now().Sub(j.proven) < renewalPause
}

// present is the session that there is now; empty for none.
func (j *sessionJar) present() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.value
}
