package couch

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// sessionCookie is the name of CouchDB's cookie.
const sessionCookie = "AuthSession"

// sessionRefresh is when a session without a Max-Age is renewed; CouchDB's own
// default is to end sessions after 600 s.
const sessionRefresh = 550 * time.Second

// sessionJar keeps the session cookie of one server, as an http.CookieJar. It
// forgets the cookie when a tenth of its life is left, upon which kivik logs in
// again before the server refuses. Other cookies are ignored, as CouchDB's
// replicator does. (net/http/cookiejar hides a cookie's age, and drops by path,
// which does not find the cookie again below a base path.)
type sessionJar struct {
	root *url.URL

	mu     sync.Mutex
	value  string
	before time.Time // when the cookie is to be renewed
}

// SetCookies implements [http.CookieJar].
func (j *sessionJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	if !j.knows(u) {
		return
	}
	for _, c := range cookies {
		if c.Name == sessionCookie {
			j.set(c)
		}
	}
}

func (j *sessionJar) set(c *http.Cookie) {
	now := time.Now()
	life := sessionRefresh
	switch {
	case c.MaxAge < 0 || c.Value == "":
		life = 0
	case c.MaxAge > 0:
		life = time.Duration(c.MaxAge) * time.Second * 9 / 10
	case !c.Expires.IsZero():
		life = c.Expires.Sub(now) * 9 / 10
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.value, j.before = c.Value, now.Add(life)
}

// Cookies implements [http.CookieJar].
func (j *sessionJar) Cookies(u *url.URL) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.knows(u) || !time.Now().Before(j.before) {
		return nil
	}
	return []*http.Cookie{{Name: sessionCookie, Value: j.value}}
}

// knows reports whether the cookie may be sent to u: to the server that gave it,
// and to no other and in no weaker way (invariant 9).
func (j *sessionJar) knows(u *url.URL) bool {
	return strings.EqualFold(u.Hostname(), j.root.Hostname()) && !weaker(j.root, u)
}

// weaker reports whether going from one URL to the other gives up encryption.
func weaker(from, to *url.URL) bool { return from.Scheme == "https" && to.Scheme != "https" }
