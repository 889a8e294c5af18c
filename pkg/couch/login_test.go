package couch

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// couchAuth is a server with sessions and Basic, as CouchDB has them.
type couchAuth struct {
	mu         sync.Mutex
	logins     int
	requests   int
	bySession  int    // of the requests, those that a session let in
	session    string // the one that is valid
	secret     string // the password, if it is not "p@"
	base       string
	cookie     string // attributes
	noSession  int    // status of _session, if not 0
	refusal    int    // status of all else, if not 0
	failLogins int    // log-ins that are answered with 503
	guarded    bool   // require_valid_user
	extend     bool   // every answer has a new session
}

func (c *couchAuth) password() string { return cmp.Or(c.secret, "p@") }

func (c *couchAuth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.URL.Path == c.base+"/_session" {
		c.login(w, r)
		return
	}
	c.requests++
	if c.refusal != 0 {
		status(c.refusal, `{"error":"x","reason":"You are not allowed to access this db."}`)(w, r)
		return
	}
	user, pass, basic := r.BasicAuth()
	cookie, _ := r.Cookie("AuthSession")
	inSession := cookie != nil && cookie.Value == c.session && c.session != ""
	if !inSession && (!basic || user != "u" || pass != c.password()) {
		status(401, `{"error":"unauthorized","reason":"You are not authorized to access this db."}`)(w, r)
		return
	}
	if inSession {
		c.bySession++
	}
	if c.extend {
		c.session += "+"
		w.Header().Set("Set-Cookie", "AuthSession="+c.session+c.cookie)
	}
	_, _ = io.WriteString(w, `{"db_name":"db"}`)
}

func (c *couchAuth) login(w http.ResponseWriter, r *http.Request) {
	c.logins++
	w.Header().Set("Content-Type", "application/json")
	body, _ := io.ReadAll(r.Body)
	switch _, pass, _ := r.BasicAuth(); {
	case c.noSession != 0:
		status(c.noSession, `{"error":"x","reason":"no sessions"}`)(w, r)
		return
	case c.failLogins > 0:
		c.failLogins--
		status(503, `{}`)(w, r)
		return
	case c.guarded && pass != c.password():
		w.Header().Set("WWW-Authenticate", `Basic realm="server"`)
		status(401, `{"error":"unauthorized","reason":"Authentication required."}`)(w, r)
		return
	case string(body) != `{"name":"u","password":"`+c.password()+`"}`+"\n":
		status(401, `{"error":"unauthorized","reason":"Name or password is incorrect."}`)(w, r)
		return
	}
	c.session = fmt.Sprintf("session%d", c.logins)
	w.Header().Add("Set-Cookie", "Tracker=x; Path=/")
	w.Header().Add("Set-Cookie", "AuthSession="+c.session+c.cookie)
	w.Header().Add("Set-Cookie", "Balancer=y")
	_, _ = io.WriteString(w, `{"ok":true}`)
}

func (c *couchAuth) open(t *testing.T, user, pass string) *DB {
	t.Helper()
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	db, err := Open(Endpoint{URL: s.URL + c.base + "/db", Username: user, Password: pass}, Options{RetryInterval: time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// sessionOf gives the database's sessions a clock.
func sessionOf(t *testing.T, db *DB) (*sessionJar, *clock) {
	t.Helper()
	c := &clock{at: time.Now()}
	jar := db.server.login.(*password).jar
	jar.now = c.now
	return jar, c
}

func requireInfo(t *testing.T, db *DB) {
	t.Helper()
	_, err := db.Info(context.Background())
	require.NoError(t, err)
}

func TestSessionIsSharedAndRenewed(t *testing.T) {
	for _, base := range []string{"", "/couch", "/a/b"} {
		c := &couchAuth{base: base, cookie: "; Version=1; Path=/; HttpOnly"}
		db := c.open(t, "u", "p@")
		_, clock := sessionOf(t, db)
		together := func() {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					_, err := db.Info(context.Background())
					require.NoError(t, err)
				})
			}
			wg.Wait()
		}
		together()
		require.Equal(t, 1, c.logins)
		for logins := 2; logins < 4; logins++ {
			c.session = "ended"
			together()
			require.Equal(t, logins, c.logins, "those that were refused together log in once")
			clock.pass(renewalPause)
		}
	}
}

func TestRequestThatMissedALogInHasItsSession(t *testing.T) {
	root, err := url.Parse("http://127.0.0.1:1/couch")
	require.NoError(t, err)
	p, err := newPassword(http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		require.Equal(t, "AuthSession=new", req.Header.Get("Cookie"))
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
	})}, root, "u", "p")
	require.NoError(t, err)
	p.jar.SetCookies(root, []*http.Cookie{{Name: sessionCookie, Value: "new"}})

	var sent string
	req, err := http.NewRequestWithContext(context.WithValue(t.Context(), sentKey{}, &sent), http.MethodGet, root.String()+"/db", nil)
	require.NoError(t, err)
	resp, err := p.session.Transport.RoundTrip(req) // as [http.Client] does when its look into the jar was too early
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "new", sent)
	require.Empty(t, req.Header.Get("Cookie"), "the caller's request stays as it was")
}

func TestSessionThatIsRefusedAnewIsNotReplacedEachTime(t *testing.T) {
	for _, code := range []int{401, 403} {
		c := &couchAuth{refusal: code}
		db := c.open(t, "u", "p@")
		_, clock := sessionOf(t, db)
		for range 5 {
			_, err := db.Info(context.Background())
			require.True(t, hasStatus(err, code), err)
		}
		require.Equal(t, 2, c.logins, "the second session did not help either")
		require.Equal(t, 6, c.requests)
		clock.pass(renewalPause)
		_, err := db.Info(context.Background())
		require.True(t, hasStatus(err, code), err)
		require.Equal(t, 3, c.logins)
	}
}

func TestSessionIsRenewedBeforeItEnds(t *testing.T) {
	for attributes, life := range map[string]time.Duration{
		"; Version=1; Path=/; HttpOnly": 550 * time.Second,
		"; Max-Age=100":                 90 * time.Second,
		"; Max-Age=nonsense":            550 * time.Second,
		"; max-age=600; HttpOnly":       540 * time.Second,
	} {
		c := &couchAuth{cookie: attributes}
		db := c.open(t, "u", "p@")
		_, clock := sessionOf(t, db)
		requireInfo(t, db)
		clock.pass(life - time.Second)
		requireInfo(t, db)
		require.Equal(t, 1, c.logins, attributes)
		clock.pass(2 * time.Second)
		requireInfo(t, db)
		require.Equal(t, 2, c.logins, attributes)
		require.Equal(t, 3, c.requests, "the server has refused none")
	}
}

func TestSessionThatTheServerExtendsIsTaken(t *testing.T) {
	c := &couchAuth{cookie: "; Max-Age=100", extend: true}
	db := c.open(t, "u", "p@")
	_, clock := sessionOf(t, db)
	for range 5 {
		requireInfo(t, db)
		clock.pass(80 * time.Second)
	}
	require.Equal(t, 1, c.logins)
}

func TestOnlyTheSessionCookieOfThisServerIsKept(t *testing.T) {
	jar := newSessionJar(&url.URL{Scheme: "http", Host: "h"})
	u := &url.URL{Scheme: "http", Host: "h", Path: "/x"}
	jar.SetCookies(u, []*http.Cookie{{Name: "AuthSession", Value: "a", MaxAge: 600}, {Name: "other", Value: "b"}})
	want := []*http.Cookie{{Name: "AuthSession", Value: "a"}}
	require.Equal(t, want, jar.Cookies(u))
	jar.SetCookies(u, []*http.Cookie{{Name: "AuthSession", Value: "a", Expires: time.Now().Add(-time.Hour)}, {Name: "AuthSession"}})
	require.Equal(t, want, jar.Cookies(u), "kivik drops the session at each 401")
	for _, other := range []string{"http://elsewhere", "http://h:8080", "http://sub.h"} {
		jar.SetCookies(mustURL(other), []*http.Cookie{{Name: "AuthSession", Value: "bad", MaxAge: 600}})
		require.Empty(t, jar.Cookies(mustURL(other)), other)
	}
	require.Equal(t, want, jar.Cookies(u))
	require.Equal(t, want, jar.Cookies(mustURL("https://h:6984/x")), "not weaker")
}

func TestServersWithoutSessionsGetBasic(t *testing.T) {
	for _, code := range []int{404, 405, 501, 200} {
		c := &couchAuth{noSession: code}
		db := c.open(t, "u", "p@")
		for range 3 {
			requireInfo(t, db)
		}
		require.Equal(t, 1, c.logins, "the first refusal is remembered")
		if code != 200 {
			require.Equal(t, 3, c.requests)
		}
	}
}

func TestServersThatWantAValidUserGetBasicWithTheLogin(t *testing.T) {
	c := &couchAuth{guarded: true}
	db := c.open(t, "u", "p@")
	_, clock := sessionOf(t, db)
	for range 3 {
		requireInfo(t, db)
	}
	require.Equal(t, 2, c.logins)
	require.Equal(t, 3, c.bySession, "and a session for all that follows")
	c.session = "ended"
	clock.pass(time.Hour)
	requireInfo(t, db)
	require.Equal(t, 3, c.logins, "it is remembered")
}

// A server locks an account after a few wrong passwords.
func TestWrongPasswordIsPermanentAndTriedOnce(t *testing.T) {
	c := &couchAuth{}
	_, err := c.open(t, "u", "wrong").Info(context.Background())
	require.True(t, IsUnauthorized(err), err)
	require.Equal(t, Permanent, Classify(err))
	require.ErrorContains(t, err, "Name or password is incorrect")
	require.Equal(t, 1, c.logins)
	require.Zero(t, c.requests)
}

func TestRefusedLoginNamesTheSession(t *testing.T) {
	c := &couchAuth{noSession: 403}
	_, err := c.open(t, "u", "p@").Info(context.Background())
	require.True(t, IsForbidden(err), err)
	require.ErrorContains(t, err, "/_session")
	require.Equal(t, Permanent, Classify(err))
}

func TestLoginThatFailsIsTriedAgain(t *testing.T) {
	c := &couchAuth{failLogins: 2}
	requireInfo(t, c.open(t, "u", "p@"))
	require.Equal(t, 3, c.logins)
}

func TestLoginFollowsRedirectsWithItsBody(t *testing.T) {
	c := &couchAuth{base: "/couch"}
	mux := http.NewServeMux()
	mux.Handle("/couch/", c)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/couch"+r.URL.Path, http.StatusMovedPermanently)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	db, err := Open(Endpoint{URL: s.URL + "/db", Username: "u", Password: "p@"}, Options{})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	requireInfo(t, db)
	require.Equal(t, 1, c.bySession)
}

func TestChangedPasswordIsReadAgainWhereItIsFrom(t *testing.T) {
	for _, code := range []int{0, 404} { // with sessions, and with Basic
		c := &couchAuth{noSession: code}
		s := httptest.NewServer(c)
		t.Cleanup(s.Close)
		reads := 0
		now := Credentials{Username: "u", Password: "p@"}
		db, err := Open(Endpoint{URL: s.URL + "/db", Username: "u", Password: "old", Renewal: &Renewal{
			Credentials: func(context.Context) (Credentials, error) { reads++; return now, nil },
		}}, Options{})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		requireInfo(t, db)
		requireInfo(t, db)
		require.Equal(t, 1, reads, "read once, and not again while it is good")
		c.secret = "new"
		c.session = "ended"
		_, err = db.Info(context.Background())
		require.True(t, IsUnauthorized(err), err)
		now.Password = "new"
		requireInfo(t, db)
	}
}

func TestBearerTokenIsSentAndReadAgainWhenRefused(t *testing.T) {
	good := "t1"
	var seen []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path+" "+r.Header.Get("Authorization"))
		if r.Header.Get("Authorization") != "Bearer "+good {
			status(401, `{"error":"unauthorized","reason":"exp not in future"}`)(w, r)
			return
		}
		_, _ = io.WriteString(w, `{}`)
	}))
	t.Cleanup(s.Close)
	token := "t1"
	db, err := Open(Endpoint{URL: s.URL + "/db", Token: "t1", Renewal: &Renewal{
		Credentials: func(context.Context) (Credentials, error) { return Credentials{Token: token}, nil },
	}}, Options{})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	requireInfo(t, db)
	good = "t2"
	_, err = db.Info(context.Background())
	require.True(t, IsUnauthorized(err), err)
	require.Equal(t, Permanent, Classify(err))
	require.NotContains(t, err.Error(), "t1")
	token = "t2"
	requireInfo(t, db)
	require.Equal(t, []string{"/db Bearer t1", "/db Bearer t1", "/db Bearer t1", "/db Bearer t2"}, seen)
}

// A server refuses a token that has ended in the words of a refused document, and CouchDB one whose
// signature does not fit with 400. Then it is not the documents that are at fault.
func TestRefusedTokenBlamesNoDocument(t *testing.T) {
	for _, code := range []int{400, 401} {
		good, vetoed := false, false
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !good:
				status(code, `{"error":"bad_request","reason":"Bad HMAC"}`)(w, r)
			case r.URL.Path == "/_session":
				_, _ = io.WriteString(w, `{"ok":true}`)
			case vetoed:
				status(code, `{"error":"unauthorized","reason":"only authors"}`)(w, r)
			default:
				status(201, `[{"ok":true,"id":"a","rev":"1-a"}]`)(w, r)
			}
		}))
		t.Cleanup(s.Close)
		token := "old"
		db, err := Open(Endpoint{URL: s.URL + "/db", Token: "old", Renewal: &Renewal{
			Credentials: func(context.Context) (Credentials, error) {
				good = token == "new"
				return Credentials{Token: token}, nil
			},
		}}, Options{})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		write := func() error {
			_, err := db.Put(context.Background(), "a", []byte(`{}`), nil)
			return err
		}
		err = write()
		require.Equal(t, Permanent, Classify(err), err)
		require.ErrorContains(t, err, "/_session")
		_, err = db.BulkDocs(context.Background(), [][]byte{[]byte(`{"_id":"a"}`)}, BulkDocsOptions{})
		require.Equal(t, Permanent, Classify(err), err)
		token = "new"
		require.NoError(t, write(), "with the token that there is now")
		vetoed = true
		require.Equal(t, PerDocument, Classify(write()), "the server takes the token: it is the document")
	}
}

// openToAll is a database that everybody may write to, with a validation function that wants to
// know who does.
type openToAll struct {
	couchAuth
	asked  int // who the sender is
	vetoed bool
	code   int // of the refusal of a single document
}

func (o *openToAll) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	cookie, _ := r.Cookie("AuthSession")
	known := cookie != nil && cookie.Value == o.session
	switch {
	case r.URL.Path == "/_session" && r.Method == http.MethodGet:
		o.asked++
		name := "null"
		if known {
			name = `"u"`
		}
		_, _ = io.WriteString(w, `{"ok":true,"userCtx":{"name":`+name+`,"roles":[]}}`)
	case r.URL.Path == "/_session":
		o.mu.Unlock()
		o.couchAuth.ServeHTTP(w, r)
		return
	case r.Method == http.MethodPut && (o.vetoed || !known):
		status(o.code, `{"error":"forbidden","reason":"only authors"}`)(w, r)
	case r.Method == http.MethodPut:
		status(201, `{"ok":true,"id":"a","rev":"1-a"}`)(w, r)
	case o.vetoed || !known:
		status(201, `[{"id":"a","rev":"1-a","error":"forbidden","reason":"only authors"}]`)(w, r)
	default:
		status(201, `[]`)(w, r)
	}
	o.mu.Unlock()
}

func TestEndedSessionBlamesNoDocument(t *testing.T) {
	for _, code := range []int{401, 403} {
		o := &openToAll{code: code}
		s := httptest.NewServer(o)
		t.Cleanup(s.Close)
		db, err := Open(Endpoint{URL: s.URL + "/db", Username: "u", Password: "p@"}, Options{})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		_, clock := sessionOf(t, db)
		put := func() error {
			_, err := db.Put(context.Background(), "a", []byte(`{}`), nil)
			return err
		}
		bulk := func() error {
			results, err := db.BulkDocs(context.Background(), [][]byte{[]byte(`{"_id":"a","_rev":"1-a"}`)}, BulkDocsOptions{})
			if err == nil && len(results) > 0 {
				return results[0].Failure()
			}
			return err
		}
		for _, write := range []func() error{put, bulk} {
			o.vetoed = false
			require.NoError(t, write())
			o.session = "ended"
			clock.pass(renewalPause)
			logins := o.logins
			require.NoError(t, write(), "by the next session")
			require.Equal(t, logins+1, o.logins)

			o.vetoed = true
			clock.pass(renewalPause)
			asked := o.asked
			for range 5 {
				require.Equal(t, PerDocument, Classify(write()), "the server knows who writes: it is the document")
			}
			require.Equal(t, logins+1, o.logins, "a refused document costs no log-in")
			require.Equal(t, asked+1, o.asked, "and the server is asked once in a while")
		}
	}
}
