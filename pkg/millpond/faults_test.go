package millpond_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/pkg/millpond"
)

func TestFaultAnswersInPlaceOfTheServer(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	remove := pond.Inject(millpond.Fault{
		Match:  millpond.Matching("GET", "/a"),
		Status: 429, Header: http.Header{"Retry-After": {"7"}}, Body: `{"error":"too_many_requests"}`,
	})
	r := db.send("GET", "/a", "")
	if r.status != 429 || r.header.Get("Retry-After") != "7" || r.body != `{"error":"too_many_requests"}` {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	db.converse([]exchange{{"GET", "/b", "", 404, missing}})
	remove()
	db.converse([]exchange{{"GET", "/a", "", 404, missing}})
}

func TestFaultIsUsedUp(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	pond.Inject(millpond.Fault{Match: millpond.After(1, millpond.Matching("", "/a")), Times: 2, Status: 500})
	var got []int
	for range 5 {
		got = append(got, db.send("GET", "/a", "").status)
	}
	for i, want := range []int{404, 500, 500, 404, 404} {
		if got[i] != want {
			t.Fatalf("statuses %v", got)
		}
	}
}

func TestFaultDropsTheConnectionBeforeAnythingHappened(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	pond.Inject(millpond.Fault{Match: millpond.Matching("PUT", "/a"), Times: 1, DropBefore: true})
	if r, err := db.try("PUT", "/"+db.name+"/a", `{}`); err == nil {
		t.Errorf("answered %d", r.status)
	}
	db.converse([]exchange{{"GET", "/a", "", 404, missing}})
}

func TestFaultLosesTheAnswerOfAWrite(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	pond.Inject(millpond.Fault{Match: millpond.Matching("PUT", "/a"), Times: 1, DropAfter: true})
	if r, err := db.try("PUT", "/"+db.name+"/a", `{}`); err == nil {
		t.Errorf("answered %d", r.status)
	}
	db.converse([]exchange{{"GET", "/a", "", 200, `{"_id":"a","_rev":"1-HASH"}`}})
}

func TestFaultCutsTheBody(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	db.load(50)
	for _, path := range []string{"/_changes", "/_all_docs", "/d01"} {
		whole := db.send("GET", path, "").body
		for _, after := range []int{1, 20} {
			pond.Inject(millpond.Fault{Match: millpond.Matching("GET", path), Times: 1, CutBodyAfter: after})
			r := db.send("GET", path, "")
			if r.err == nil || r.status != 200 || r.body != whole[:after] {
				t.Errorf("%s cut after %d: %d %q, error %v", path, after, r.status, r.body, r.err)
			}
		}
	}
}

func TestFaultResetsTheConnection(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	for _, fault := range []millpond.Fault{{DropBefore: true}, {DropAfter: true}, {CutBodyAfter: -1}} {
		fault.Match, fault.Times, fault.Reset = millpond.Matching("GET", "/_all_docs"), 1, true
		pond.Inject(fault)
		r, err := db.try("GET", "/"+db.name+"/_all_docs", "")
		if err == nil {
			err = r.err
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%+v: error %v", fault, err)
		}
	}
}

func TestFaultStallsTheBodyUntilTheClientLeaves(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	db.load(50)
	pond.Inject(millpond.Fault{Match: millpond.Matching("GET", "/_changes"), StallBodyAfter: 20})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", db.url+"/"+db.name+"/_changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	begin := make([]byte, 20)
	if _, err := io.ReadFull(resp.Body, begin); err != nil {
		t.Fatalf("%q: %v", begin, err)
	}
	ended := make(chan error)
	go func() {
		_, err := resp.Body.Read(make([]byte, 1))
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Errorf("ended with %v", err)
	case <-time.After(50 * time.Millisecond): // it cannot be seen to go on for ever
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

func TestFaultOfADocument(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	all := func(*http.Request) bool { return true }
	pond.Inject(millpond.Fault{Match: millpond.Mentioning("poison", all), Status: 500, Body: `{"error":"unknown_error","ref":1}`})
	db.converse([]exchange{
		{"POST", "/_bulk_docs", `{"docs":[{"_id":"a"},{"_id":"poison"}]}`, 500, `{"error":"unknown_error","ref":1}`},
		{"POST", "/_bulk_docs", `{"docs":[{"_id":"a"},{"_id":"b"}]}`, 201, ""},
		{"GET", "/poison", "", 500, ""},
		{"GET", "/a", "", 200, ""},
	})
}

func TestFaultOfWhatComesTooFast(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	match := millpond.AnyOf(millpond.Matching("GET", "/a"), millpond.Matching("GET", "/b"))
	pond.Inject(millpond.Fault{Match: millpond.Faster(2, func() time.Time { return now }, match), Status: 429})
	for _, step := range []struct {
		path string
		want int
	}{{"/a", 404}, {"/b", 404}, {"/a", 429}, {"/c", 404}, {"later", 0}, {"/a", 404}, {"/b", 404}, {"/b", 429}} {
		if step.path == "later" {
			now = now.Add(time.Second)
			continue
		}
		if got := db.send("GET", step.path, "").status; got != step.want {
			t.Errorf("GET %s: %d, want %d", step.path, got, step.want)
		}
	}
}

func TestFaultHoldsARequestBackUntilTheClientLeaves(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	held := make(chan struct{})
	match := millpond.Matching("PUT", "/a")
	pond.Inject(millpond.Fault{Delay: time.Hour, Match: func(r *http.Request) bool {
		if !match(r) {
			return false
		}
		close(held)
		return true
	}})
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "PUT", db.url+"/"+db.name+"/a", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	<-held
	cancel()
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
	db.converse([]exchange{{"GET", "/a", "", 404, missing}})
}

func TestRequestsAreCounted(t *testing.T) {
	pond := serve(t, millpond.Options{})
	db := pond.database(t)
	db.send("GET", "/_changes?limit=1", "")
	db.send("GET", "/_changes", "")
	db.send("GET", "/a", "")
	db.send("GET", "/_design/d", "")
	db.send("GET", "/_design/d/f", "")
	db.send("GET", "/_local/d", "")
	db.send("POST", "/_bulk_get", `{"docs":[]}`)
	db.sendTo("GET", "/_up", "")
	counts := pond.Requests()
	for e, want := range map[[2]string]int{
		{"GET", "_changes"}: 2, {"GET", "doc"}: 2, {"GET", "attachment"}: 1, {"GET", "_local"}: 1,
		{"POST", "_bulk_get"}: 1, {"GET", "_up"}: 1, {"PUT", "db"}: 1, {"POST", "_revs_diff"}: 0,
	} {
		if got := counts.Of(e[0], e[1]); got != want {
			t.Errorf("%s %s: %d, want %d", e[0], e[1], got, want)
		}
	}
	if got := counts[millpond.Endpoint{Method: "GET", Database: db.name, Kind: "_changes"}]; got != 2 {
		t.Errorf("_changes of the database: %d", got)
	}
}

func TestLimitsRefuseWhatIsTooLarge(t *testing.T) {
	db := serve(t, millpond.Options{
		MaxDocumentSize: 100, MaxRequestSize: 1000, MaxAttachmentSize: 20, MaxDocumentIDLength: 10,
	}).database(t)
	long := strings.Repeat("x", 100)
	db.converse([]exchange{
		{"PUT", "/small", `{"a":1}`, 201, ""},
		{"PUT", "/big", `{"a":"` + long + `"}`, 413, `{"error":"document_too_large","reason":""}`},
		{"POST", "/_bulk_docs", `{"docs":[{"_id":"ok"},{"_id":"big","a":"` + long + `"}]}`, 413, `{"error":"document_too_large","reason":"big"}`},
		{"GET", "/ok", "", 404, missing},
		{"POST", "/_bulk_docs", `{"docs":[` + strings.Repeat(" ", 1000) + `]}`, 413, `{"error":"too_large","reason":"the request entity is too large"}`},
		{"PUT", "/a/f", long, 413, `{"error":"attachment_too_large","reason":"f"}`},
		{"PUT", "/a", `{"_attachments":{"f":{"data":"` + strings.Repeat("QUFB", 10) + `"}}}`, 413, `{"error":"attachment_too_large","reason":"f"}`},
		{"PUT", "/" + strings.Repeat("i", 11), `{}`, 400, `{"error":"illegal_docid","reason":"Document id is too long"}`},
		{"POST", "/_bulk_docs", `{"docs":[{"_id":"` + strings.Repeat("i", 11) + `"}]}`, 400, `{"error":"illegal_docid","reason":"Document id is too long"}`},
	})
	bomb := gzipped(t, `{"docs":[`+strings.Repeat(" ", 5000)+`]}`)
	if r := db.send("POST", "/_bulk_docs", bomb, "Content-Encoding", "gzip"); r.status != 413 {
		t.Errorf("packed request: %d %s", r.status, r.body)
	}
}

func TestValidateRefusesRows(t *testing.T) {
	db := serve(t, millpond.Options{Validate: func(_, id string, doc []byte) error {
		switch {
		case strings.Contains(string(doc), `"bad":true`):
			return millpond.Forbidden("bad: " + id)
		case strings.Contains(string(doc), `"_deleted":true`):
			return millpond.Unauthorized("who are you?")
		}
		return nil
	}}).database(t)
	db.converse([]exchange{
		{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_rev":"1-a"},{"_id":"b","_rev":"1-b","bad":true},{"_id":"c","_rev":"1-c","_deleted":true}]}`, 201,
			`[{"id":"b","rev":"1-b","error":"forbidden","reason":"bad: b"},{"id":"c","rev":"1-c","error":"unauthorized","reason":"who are you?"}]`},
		{"POST", "/_bulk_docs", `{"docs":[{"_id":"d"},{"_id":"e","bad":true}]}`, 201,
			`[{"ok":true,"id":"d","rev":"1-HASH"},{"id":"e","error":"forbidden","reason":"bad: e"}]`},
		{"PUT", "/f", `{"bad":true}`, 403, `{"error":"forbidden","reason":"bad: f"}`},
		{"GET", "/a", "", 200, ""},
		{"GET", "/b", "", 404, missing},
		{"PUT", "/_design/x", `{"bad":true}`, 201, ""},
	})
}

func TestMissingStubIsNotAtomic(t *testing.T) {
	db := serve(t, millpond.Options{}).database(t)
	db.converse([]exchange{
		{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"first","_rev":"1-a"},{"_id":"x","_rev":"1-a","_attachments":{"f":{"stub":true}}},{"_id":"last","_rev":"1-a"}]}`,
			412, `{"error":"missing_stub","reason":"Invalid attachment stub in x for f"}`},
		{"GET", "/first", "", 200, ""},
		{"GET", "/last", "", 404, missing},
	})
}

func TestStrangersAreRefused(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	pond := serve(t, millpond.Options{AdminUser: "adm", AdminPassword: "p:ss", Now: func() time.Time { return now }})
	u, err := url.Parse(pond.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = nil
	open := &database{peer: &peer{url: u.String()}, t: t}
	for path, want := range map[string]int{"/": 200, "/_up": 200, "/_session": 200, "/_all_dbs": 401, "/x": 404} {
		if r := open.sendTo("GET", path, ""); r.status != want {
			t.Errorf("GET %s: %d, want %d", path, r.status, want)
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Transport: client.Transport}
	status := func(resp *http.Response, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(browser.PostForm(u.String()+"/_session", url.Values{"name": {"adm"}, "password": {"wrong"}})); got != 401 {
		t.Errorf("wrong password: %d", got)
	}
	if got := status(browser.PostForm(u.String()+"/_session", url.Values{"name": {"adm"}, "password": {"p:ss"}})); got != 200 {
		t.Errorf("login: %d", got)
	}
	if got := status(browser.Get(u.String() + "/_all_dbs")); got != 200 {
		t.Errorf("with the cookie: %d", got)
	}
	now = now.Add(11 * time.Minute)
	if got := status(browser.Get(u.String() + "/_all_dbs")); got != 401 {
		t.Errorf("with an expired cookie: %d", got)
	}
}

func TestIntegerSeqs(t *testing.T) {
	db := serve(t, millpond.Options{IntegerSeqs: true}).database(t)
	db.load(2)
	db.converse([]exchange{
		{"GET", "/_changes?since=1", "", 200, `{"results":[{"seq":2,"id":"d01","changes":[{"rev":"1-r"}]}],"last_seq":2,"pending":0}`},
	})
}

func TestSeqOfARecreatedDatabaseStartsAgain(t *testing.T) {
	db := serve(t, millpond.Options{}).database(t)
	db.load(3)
	old := db.changes("")
	instance := between(db.send("GET", "", "").body, `"instance_start_time":"`, `"`)
	db.converse([]exchange{{"DELETE", "", "", 200, ""}, {"PUT", "", "", 201, ""}})
	db.load(3)
	if again := db.changes("since=" + bare(old.LastSeq)); len(again.Results) != 3 {
		t.Errorf("a seq of the old database hides %d of 3 changes", 3-len(again.Results))
	}
	if now := between(db.send("GET", "", "").body, `"instance_start_time":"`, `"`); now == instance {
		t.Errorf("instance_start_time stayed %s", now)
	}
}

func TestListenerServesUntilClosed(t *testing.T) {
	s := millpond.New(millpond.Options{})
	l, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	db := (&peer{url: l.URL}).database(deferred{t, l})
	lines, stop := db.follow("feed=continuous&heartbeat=20")
	defer stop()
	<-lines // it is waiting
	closed := make(chan error)
	go func() { closed <- l.Close() }()
	if last := nextRow(t, lines); !strings.HasPrefix(last, `{"last_seq":`) {
		t.Errorf("last line %s", last)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// deferred is a test whose clean-up cannot reach the server, which is closed.
type deferred struct {
	*testing.T
	_ *millpond.Listener
}

func (deferred) Cleanup(func()) {}
