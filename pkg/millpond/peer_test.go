package millpond_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/pkg/millpond"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a server under test: Millpond, or a real CouchDB that proves the test.
type peer struct {
	name  string
	url   string
	couch bool
	login string // an Authorization header, in the place of what the URL has
}

// adminPond has an administrator and other accounts.
var adminPond = millpond.Options{AdminUser: "adm", AdminPassword: "pass", Users: accounts}

// eachPeer runs a test on Millpond, and on the CouchDB servers named by
// MILLRACE_TEST_COUCHDB.
func eachPeer(t *testing.T, test func(t *testing.T, db *database)) {
	t.Helper()
	t.Run("millpond", func(t *testing.T) {
		test(t, serve(t, adminPond).database(t))
	})
	for i, u := range strings.FieldsFunc(os.Getenv("MILLRACE_TEST_COUCHDB"), func(r rune) bool { return r == ',' }) {
		t.Run(fmt.Sprintf("couchdb%d", i), func(t *testing.T) {
			test(t, (&peer{name: "couchdb", url: strings.TrimSuffix(u, "/"), couch: true}).database(t))
		})
	}
}

// pond is a Millpond with its HTTP server.
type pond struct {
	peer
	*millpond.Server
}

func serve(t testing.TB, opts millpond.Options) *pond {
	t.Helper()
	s := millpond.New(opts)
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		web.CloseClientConnections()
		web.Close()
	})
	u, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	if opts.AdminUser != "" {
		u.User = url.UserPassword(opts.AdminUser, opts.AdminPassword)
	}
	return &pond{peer: peer{name: "millpond", url: u.String()}, Server: s}
}

var databases atomic.Int64

// database is a new database of a peer, deleted after the test.
type database struct {
	*peer
	t    testing.TB
	name string
}

func (p *peer) database(t testing.TB) *database {
	t.Helper()
	db := &database{peer: p, t: t, name: fmt.Sprintf("millpond_test_%d_%d", os.Getpid(), databases.Add(1))}
	t.Cleanup(func() { db.send("DELETE", "", "") })
	if r := db.send("PUT", "", ""); r.status != 201 {
		t.Fatalf("create database: %d %s", r.status, r.body)
	}
	return db
}

type response struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// send makes a request; path is below the database, header is pairs.
func (db *database) send(method, path, body string, header ...string) response {
	db.t.Helper()
	return db.sendTo(method, "/"+url.PathEscape(db.name)+path, body, header...)
}

// sendTo makes a request; path is below the server.
func (db *database) sendTo(method, path, body string, header ...string) response {
	db.t.Helper()
	r, err := db.try(method, path, body, header...)
	if err != nil {
		db.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// client asks for no compression, so that Accept-Encoding is what a test says. With
// an Expect header it sends no body before it is told to.
var client = &http.Client{Transport: &http.Transport{
	DisableCompression: true, DisableKeepAlives: true, ExpectContinueTimeout: time.Minute,
}}

func (db *database) try(method, path, body string, header ...string) (response, error) {
	req, err := http.NewRequest(method, db.url+path, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	if method == "POST" {
		req.Header.Set("Content-Type", "application/json")
	}
	if db.login != "" {
		req.Header.Set("Authorization", db.login)
	}
	req.Header.Set("Accept", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return response{status: resp.StatusCode, header: resp.Header, body: string(text), err: err}, nil
}

// exchange is a request and the answer that every peer must give to it. What a
// peer chooses itself is written as words: "1-HASH" for a revision it made, "SEQ"
// for a seq. An empty want leaves the body open.
type exchange struct {
	method, path, body string
	status             int
	want               string
}

// converse makes the requests one after the other.
func (db *database) converse(steps []exchange) {
	db.t.Helper()
	for _, s := range steps {
		r := db.send(s.method, s.path, s.body)
		what := fmt.Sprintf("%s %s %s", s.method, s.path, s.body)
		if r.status != s.status {
			db.t.Errorf("%s\n got %d %s\nwant %d %s", what, r.status, r.body, s.status, s.want)
			continue
		}
		if s.want != "" {
			db.sameJSON(what, r.body, s.want)
		}
	}
}

// sameJSON compares texts as JSON, order of members aside.
func (db *database) sameJSON(what, got, want string) {
	db.t.Helper()
	g, err := parseAnswer(got)
	if err != nil {
		db.t.Errorf("%s: answer %q: %v", what, got, err)
		return
	}
	w, err := parseAnswer(want)
	if err != nil {
		db.t.Fatalf("%s: expectation %q: %v", what, want, err)
	}
	if !reflect.DeepEqual(g, w) {
		db.t.Errorf("%s\n got %s\nwant %s", what, got, want)
	}
}

var (
	madeRev = regexp.MustCompile(`(\b[0-9]+-)[0-9a-f]{32}\b`)
	madeID  = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	madeSeq = regexp.MustCompile(`"[0-9]+-g1AAAA[^"]*"`)
)

func parseAnswer(text string) (v any, err error) {
	text = madeSeq.ReplaceAllString(text, `"SEQ"`)
	text = madeRev.ReplaceAllString(text, "${1}HASH")
	text = madeID.ReplaceAllString(text, "HASH")
	dec := json.NewDecoder(bytes.NewBufferString(text))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// revOf is the rev member of an answer.
func (r response) revOf(t testing.TB) string {
	t.Helper()
	var answer struct{ Rev, R string }
	answer.R = between(r.body, `"_rev":"`, `"`)
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
		t.Fatalf("answer %q: %v", r.body, err)
	}
	if answer.Rev == "" {
		return answer.R
	}
	return answer.Rev
}

func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	found, _, _ := strings.Cut(rest, after)
	return found
}

func itoa(n int) string { return fmt.Sprint(n) }
