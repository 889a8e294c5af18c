package reader_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/changes-reader/quiet"
	"millrace/services/changes-reader/reader"
	"millrace/services/internal/pipelinetest"
)

// patience is the connection timeout of the feeds in these tests: a feed is closed at one of its heartbeats,
// which come three times in it.
const patience = 1500 * time.Millisecond

// never is for what must not help a test.
const never = time.Hour

// house is a server of many databases that counts the feeds that are open.
type house struct {
	t    *testing.T
	pond *millpond.Server
	url  string
	web  *httptest.Server

	mu          sync.Mutex
	serving     map[string]int                          // requests of each kind
	since       map[string]*struct{ closed, read bool } // what happened to each database since its feed was opened
	feeds       int
	connections map[net.Conn]http.ConnState
	before      func(kind string, r *http.Request) // called before a request is answered; may be nil
	after       func(kind string, r *http.Request) // and after it
	cuts        []context.CancelFunc               // of the open feeds of updates
}

func newHouse(t *testing.T, o millpond.Options) *house {
	t.Helper()
	h := &house{t: t, pond: millpond.New(o), serving: map[string]int{}, since: map[string]*struct{ closed, read bool }{}, connections: map[net.Conn]http.ConnState{}}
	h.web = httptest.NewUnstartedServer(h)
	h.web.Config.ConnState = func(c net.Conn, state http.ConnState) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.connections[c] = state
	}
	h.web.Start()
	t.Cleanup(func() {
		h.pond.Close()
		h.web.CloseClientConnections()
		h.web.Close()
	})
	h.url = h.web.URL
	if !o.SilentUpdates {
		h.create("_global_changes")
	}
	return h
}

// kind is what is asked for: "changes" and "updates" are continuous feeds.
func kind(r *http.Request) string {
	continuous := r.URL.Query().Get("feed") == "continuous"
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/_changes") && continuous:
		return "changes"
	case strings.HasSuffix(path, "/_changes"):
		return "pass"
	case path == "/_db_updates" && continuous:
		return "updates"
	case path == "/_db_updates":
		return "now"
	case r.Method == http.MethodGet && strings.Count(strings.Trim(r.URL.EscapedPath(), "/"), "/") == 0:
		return "info"
	}
	return "other"
}

// ServeHTTP implements http.Handler.
func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k := kind(r)
	h.mu.Lock()
	before, after := h.before, h.after
	h.serving[k]++
	path := r.URL.EscapedPath()
	if k == "changes" {
		h.since[path] = &struct{ closed, read bool }{}
	}
	since := h.since[path]
	if k == "updates" {
		ctx, cut := context.WithCancel(r.Context())
		defer cut()
		r = r.WithContext(ctx)
		h.cuts = append(h.cuts, cut)
	}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.serving[k]--
		switch {
		case k == "changes":
			since.closed = true
		case k == "pass" && since != nil: // by whom the feed was closed, although the server may notice later
			since.read = true
		}
		h.mu.Unlock()
		if after != nil {
			after(k, r)
		}
	}()
	if before != nil {
		before(k, r)
	}
	h.pond.ServeHTTP(w, r)
}

// open is how many feeds of a kind are open.
func (h *house) open(k string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.serving[k]
}

// sleeping is how many databases have been read once more after their feed was closed.
func (h *house) sleeping() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, since := range h.since {
		if since.closed && since.read {
			n++
		}
	}
	return n
}

// busy is how many connections are in use.
func (h *house) busy() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, state := range h.connections {
		if state == http.StateActive {
			n++
		}
	}
	return n
}

func (h *house) hooks(before, after func(kind string, r *http.Request)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before, h.after = before, after
}

// cut breaks the feeds of updates.
func (h *house) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, cut := range h.cuts {
		cut()
	}
	h.cuts = nil
}

// asked is how often the server was asked for its updates.
func (h *house) asked() int { return h.pond.Requests().Of(http.MethodGet, "_db_updates") }

// direct makes a request that the house does not count.
func (h *house) direct(method, path, body string, want ...int) {
	h.t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewBufferString(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.pond.ServeHTTP(w, r)
	for _, status := range want {
		if w.Code == status {
			return
		}
	}
	h.t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
}

func (h *house) create(name string) {
	h.t.Helper()
	h.direct(http.MethodPut, "/"+url.QueryEscape(name), "", http.StatusCreated)
}

func (h *house) write(name, id string) {
	h.t.Helper()
	h.direct(http.MethodPut, "/"+url.QueryEscape(name)+"/"+id, "{}", http.StatusCreated)
}

// feed makes a live feed of a database at address. Its id is made of the name.
func (h *house) feed(p *pipelinetest.Pipeline, address, name string) string {
	h.t.Helper()
	h.feeds++
	return follow(h.t, p, address, name)
}

// ids are the documents in a feed's log.
func ids(t *testing.T, p *pipelinetest.Pipeline, feed string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, e := range p.Messages(p.Broker().Streams().Changes, p.Broker().Subjects().Changes(feed)) {
		b := &millracev1.ChangesBatch{}
		p.Decode(e, b)
		for _, r := range b.Rows {
			seen[r.Id]++
		}
	}
	return seen
}

// comes waits until a document is in a feed's log.
func comes(t *testing.T, p *pipelinetest.Pipeline, feed, id string) {
	t.Helper()
	p.Await(id+" in the log of "+feed, func() bool { return ids(t, p, feed)[id] > 0 })
}

// asleep waits until the readers of all feeds sleep.
func (h *house) asleep(p *pipelinetest.Pipeline) {
	h.t.Helper()
	p.Await("all feeds to be closed", func() bool { return h.sleeping() == h.feeds && h.open("changes") == 0 && h.open("updates") == 1 })
}

func sleepers(o quiet.Options) pipelinetest.Options {
	if o.Look == 0 {
		o.Look = never
	}
	if o.Least == 0 {
		o.Least = 1
	}
	return pipelinetest.Options{Services: []string{reader.Name}, Reader: reader.Options{QuietAfter: time.Millisecond, Quiet: o}}
}

func TestQuietFeedsOfAServerHoldOneConnection(t *testing.T) {
	t.Parallel()
	const n = 40
	h := newHouse(t, millpond.Options{})
	p := pipelinetest.Start(t, sleepers(quiet.Options{Least: n}))
	feeds := make([]string, n)
	for i := range feeds {
		h.create(name(i))
		h.write(name(i), "first")
		feeds[i] = h.feed(p, h.url, name(i))
		if i == n-2 { // one is missing, and so nobody asks for updates
			p.Await("feeds to be open", func() bool { return h.open("changes") == n-1 })
		}
	}
	h.asleep(p)
	p.Await("connections to be free", func() bool { return h.busy() == 1 })
	for i := range feeds {
		h.write(name(i), "second")
	}
	for i, feed := range feeds {
		comes(t, p, feed, "second")
		if got := ids(t, p, feeds[i]); len(got) != 2 {
			t.Errorf("%s: %v", name(i), got)
		}
	}
	h.asleep(p)
}

func name(i int) string { return fmt.Sprintf("db%d/with+slash", i) }

// A write at each moment between the last row of the open feed and sleep is seen, although nobody looks.
func TestNothingIsLostWhileAFeedIsClosed(t *testing.T) {
	t.Parallel()
	moments := []string{"after changes", "before info", "after info", "before pass", "after pass", "before now", "after now", "before updates"}
	h := newHouse(t, millpond.Options{})
	p := pipelinetest.Start(t, sleepers(quiet.Options{}))
	var mu sync.Mutex
	written, quietly := map[string]int{}, false
	at := func(moment string) func(string, *http.Request) {
		return func(kind string, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			// Feeds are closed for the first time, or about to be, once the updates are asked for.
			quietly = quietly || kind == "now"
			for i, when := range moments {
				about := kind == "now" || kind == "updates" || strings.HasPrefix(r.URL.EscapedPath(), "/"+url.QueryEscape(name(i)))
				if quietly && about && moment+" "+kind == when && written[name(i)] < 3 {
					written[name(i)]++
					h.write(name(i), fmt.Sprint("moment-", written[name(i)]))
				}
			}
		}
	}
	h.hooks(at("before"), at("after"))
	for i := range moments {
		h.create(name(i))
		h.feed(p, h.url, name(i))
	}
	h.asleep(p)
	for i, when := range moments {
		p.Await("a write "+when, func() bool { mu.Lock(); defer mu.Unlock(); return written[name(i)] > 0 })
		mu.Lock()
		n := written[name(i)]
		mu.Unlock()
		for j := range n {
			comes(t, p, fmt.Sprintf("%x", name(i)), fmt.Sprint("moment-", j+1))
		}
	}
}

func TestWhatWasAnnouncedWhileTheUpdatesWereCutWakes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, millpond.Options{})
	h.create("db")
	p := pipelinetest.Start(t, sleepers(quiet.Options{}))
	feed := h.feed(p, h.url, "db")
	h.asleep(p)
	var once sync.Once
	h.hooks(func(kind string, _ *http.Request) {
		if kind == "updates" {
			once.Do(func() { h.write("db", "between") })
		}
	}, nil)
	h.cut()
	comes(t, p, feed, "between")
	h.asleep(p)
}

// A server that does not offer updates any more, or not to us, is as one that never did.
func TestReadersWakeWhenUpdatesAreNotToBeHad(t *testing.T) {
	t.Parallel()
	const n = 5
	h := newHouse(t, millpond.Options{})
	p := pipelinetest.Start(t, sleepers(quiet.Options{Openings: 1, Retry: never}))
	for i := range n {
		h.create(name(i))
		h.feed(p, h.url, name(i))
	}
	h.asleep(p)
	h.pond.Inject(millpond.Fault{Match: func(r *http.Request) bool { return r.URL.Path == "/_db_updates" }, Status: http.StatusForbidden})
	h.cut()
	p.Await("feeds to be open", func() bool { return h.open("changes") == n })
	asked := h.asked()
	h.write(name(0), "doc")
	comes(t, p, fmt.Sprintf("%x", name(0)), "doc")
	if h.asked() != asked {
		t.Error("the server was asked again at once")
	}
}

func TestFeedsStayOpenWhereUpdatesAreNotOffered(t *testing.T) {
	for status, reason := range map[int]string{
		401: "not an administrator", 403: "forbidden", 404: "no _global_changes", 405: "no such thing", 501: "not implemented",
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, millpond.Options{})
			h.create("db")
			h.pond.Inject(millpond.Fault{Match: func(r *http.Request) bool { return r.URL.Path == "/_db_updates" }, Status: status})
			p := pipelinetest.Start(t, sleepers(quiet.Options{}))
			feed := h.feed(p, h.url, "db")
			p.Await("the server to be asked", func() bool { return h.asked() > 0 })
			h.write("db", "doc")
			comes(t, p, feed, "doc")
			p.Await("the feed to be open", func() bool { return h.open("changes") == 1 })
			if h.asked() != 1 {
				t.Errorf("asked %d times", h.asked())
			}
		})
	}
}

func TestSilentServerIsFoundOutAndNotReliedOn(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, millpond.Options{SilentUpdates: true})
			h.create("_global_changes")
			p := pipelinetest.Start(t, sleepers(quiet.Options{Look: 200 * time.Millisecond, Grace: time.Millisecond}))
			for i := range n {
				h.create(name(i))
				h.feed(p, h.url, name(i))
			}
			h.asleep(p)
			h.write(name(0), "doc")
			comes(t, p, fmt.Sprintf("%x", name(0)), "doc")
			p.Await("feeds to be open", func() bool { return h.open("changes") == n && h.open("updates") == 0 })
			asked := h.asked()
			h.write(name(n-1), "another")
			comes(t, p, fmt.Sprintf("%x", name(n-1)), "another")
			if h.asked() != asked {
				t.Error("the server was asked again at once")
			}
		})
	}
}

// What a look finds that is announced soon is no reason to distrust.
func TestLateAnnouncementIsNoSilence(t *testing.T) {
	t.Parallel()
	h := newHouse(t, millpond.Options{SilentUpdates: true})
	h.create("_global_changes")
	h.create("db")
	p := pipelinetest.Start(t, sleepers(quiet.Options{Look: 100 * time.Millisecond, Grace: never}))
	feed := h.feed(p, h.url, "db")
	h.asleep(p)
	h.write("db", "doc")
	comes(t, p, feed, "doc")
	h.write("_global_changes", url.QueryEscape("updated:db"))
	h.asleep(p)
}

func TestSleepingReaderNoticesThatItsSourceWasRecreated(t *testing.T) {
	t.Parallel()
	h := newHouse(t, millpond.Options{})
	h.create("db")
	h.write("db", "old")
	p := pipelinetest.Start(t, sleepers(quiet.Options{}))
	feed := h.feed(p, h.url, "db")
	h.asleep(p)
	opened := func() int {
		n := 0
		for _, e := range p.Messages(p.Broker().Streams().Events, p.Broker().Subjects().Events("job")) {
			event := &millracev1.Event{}
			if err := proto.Unmarshal(e.Data, event); err == nil && event.Class == millracev1.Event_CLASS_INFO {
				n++
			}
		}
		return n
	}
	before := opened()
	h.direct(http.MethodDelete, "/db", "", http.StatusOK)
	h.create("db")
	h.write("db", "new")
	comes(t, p, feed, "new")
	p.Await("the job to be told to look", func() bool { return opened() > before })
}

func TestSleepingReaderReportsThatItsSourceIsGone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, millpond.Options{})
	h.create("db")
	p := pipelinetest.Start(t, sleepers(quiet.Options{}))
	h.feed(p, h.url, "db")
	h.asleep(p)
	h.direct(http.MethodDelete, "/db", "", http.StatusOK)
	p.Await("an event", func() bool {
		for _, e := range p.Messages(p.Broker().Streams().Events, p.Broker().Subjects().Events("job")) {
			event := &millracev1.Event{}
			if err := proto.Unmarshal(e.Data, event); err == nil && event.Class == millracev1.Event_CLASS_PERMANENT {
				return true
			}
		}
		return false
	})
}

func TestAnotherReaderGoesOnForOneThatWasKilledAsleep(t *testing.T) {
	t.Parallel()
	h := newHouse(t, millpond.Options{})
	h.create("db")
	h.write("db", "first")
	o := sleepers(quiet.Options{})
	o.Services = nil
	p := pipelinetest.Start(t, o)
	sleeper := p.Run(reader.Name)
	feed := h.feed(p, h.url, "db")
	h.asleep(p)
	sleeper.Kill()
	h.write("db", "meanwhile")
	p.Run(reader.Name)
	comes(t, p, feed, "meanwhile")
	h.asleep(p)
	h.write("db", "later")
	comes(t, p, feed, "later")
	for id, n := range ids(t, p, feed) {
		if n != 1 {
			t.Errorf("%s is there %d times", id, n)
		}
	}
}

// Behind a proxy a database has a path, and perhaps a name, that its server does not know of.
func TestSourceBehindAProxyIsKnownByItsServersName(t *testing.T) {
	t.Parallel()
	h := newHouse(t, millpond.Options{})
	h.create("tenant/real")
	h.create("db") // of somebody else
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.EscapedPath(), "/below")
		if rest, ok := strings.CutPrefix(path, "/db"); ok {
			path = "/tenant%2Freal" + rest
		}
		u, err := url.Parse(path + "?" + r.URL.RawQuery)
		if err != nil {
			t.Error(err)
			return
		}
		r.URL = u
		h.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	defer h.pond.Close()
	p := pipelinetest.Start(t, sleepers(quiet.Options{}))
	feed := h.feed(p, proxy.URL+"/below", "db")
	h.asleep(p)
	h.write("db", "other")
	h.write("tenant/real", "doc")
	comes(t, p, feed, "doc")
	if got := ids(t, p, feed); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
