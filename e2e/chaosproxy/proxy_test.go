package chaosproxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
)

// origin is a server that records what reached it and echoes bodies.
type origin struct {
	*httptest.Server
	paths  chan string // escaped path of each request that arrived
	bodies chan string // body of each request that arrived whole
	broken atomic.Int64
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	o := &origin{paths: make(chan string, 1000), bodies: make(chan string, 1000)}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.paths <- r.URL.EscapedPath()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			o.broken.Add(1)
			o.bodies <- "broken"
			return
		}
		o.bodies <- string(body)
		_, _ = w.Write(body)
	}))
	t.Cleanup(o.Close)
	return o
}

func start(t *testing.T, target string) *chaosproxy.Proxy {
	t.Helper()
	p, err := chaosproxy.Start(target, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// newClient returns a client without kept connections of another test.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func post(t *testing.T, c *http.Client, url, body string) (int, string, error) {
	t.Helper()
	res, err := c.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	return res.StatusCode, string(got), err
}

func TestProxyPassesRequestsOnUnchanged(t *testing.T) {
	o := newOrigin(t)
	p := start(t, o.URL)
	status, body, err := post(t, newClient(t), p.URL()+"/a%2Fb/x%20y/%F0%9F%98%80?rev=1%2B2", "hello")
	if err != nil || status != http.StatusOK || body != "hello" {
		t.Fatalf("got %d %q, %v", status, body, err)
	}
	if path := <-o.paths; path != "/a%2Fb/x%20y/%F0%9F%98%80" {
		t.Errorf("path arrived as %s", path)
	}
}

func TestProxyKeepsTheUserOfTheTarget(t *testing.T) {
	p := start(t, "http://u:p@127.0.0.1:1")
	if !strings.HasPrefix(p.URL(), "http://u:p@127.0.0.1:") {
		t.Errorf("URL is %s", p.URL())
	}
	through, err := p.Through("http://x:y@example.org:5984/a%2Fb?q=1")
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(p.URL())
	if want := "http://x:y@" + u.Host + "/a%2Fb?q=1"; through != want {
		t.Errorf("Through gave %s, want %s", through, want)
	}
}

func TestProxyStreamsAnswersAsTheyCome(t *testing.T) {
	more := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-more
	}))
	defer server.Close()
	defer close(more)
	p := start(t, server.URL)
	res, err := newClient(t).Get(p.URL() + "/db/_changes?feed=continuous")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	row := make([]byte, len("first\n"))
	if _, err := io.ReadFull(res.Body, row); err != nil || string(row) != "first\n" {
		t.Errorf("read %q, %v", row, err)
	}
}

func TestRulesAnswerInTheServersPlace(t *testing.T) {
	for name, c := range map[string]struct {
		action chaosproxy.Action
		status int
		header string
		body   string
	}{
		"429 with Retry-After": {chaosproxy.TooManyRequests(7), 429, "7", "Too Many Requests"},
		"500":                  {chaosproxy.ServerError(500), 500, "", "Internal Server Error"},
		"503":                  {chaosproxy.ServerError(503), 503, "", "Service Unavailable"},
		"garbage":              {chaosproxy.Garbage(), 200, "", "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t)
			p := start(t, o.URL)
			p.Add(chaosproxy.Rule{Do: c.action})
			res, err := newClient(t).Get(p.URL() + "/db")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != c.status || res.Header.Get("Retry-After") != c.header || !strings.Contains(string(body), c.body) {
				t.Errorf("got %d %v %q", res.StatusCode, res.Header, body)
			}
			if len(o.paths) != 0 {
				t.Error("the server saw the request")
			}
		})
	}
}

func TestRuleActsOnTheRequestsItCounts(t *testing.T) {
	o := newOrigin(t)
	p := start(t, o.URL)
	rule := p.Add(chaosproxy.Rule{
		Match: chaosproxy.Method(http.MethodPost, chaosproxy.On(chaosproxy.BulkDocs)),
		Skip:  1, Times: 2, Do: chaosproxy.ServerError(500),
	})
	client := newClient(t)
	var got []int
	for _, path := range []string{"/db/_bulk_docs", "/db/_revs_diff", "/db/_bulk_docs", "/db/_bulk_docs", "/db/_bulk_docs"} {
		status, _, err := post(t, client, p.URL()+path, "{}")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status)
	}
	if want := []int{200, 200, 500, 500, 200}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if rule.Hits() != 2 {
		t.Errorf("rule has %d hits, want 2", rule.Hits())
	}
	count := p.Counts()[chaosproxy.BulkDocs]
	if want := (chaosproxy.Count{Requests: 4, Forwarded: 2, AtOnce: 1, RequestBytes: 4, AnswerBytes: 4}); count != want {
		t.Errorf("counted %+v, want %+v", count, want)
	}
	p.ResetCounts()
	if len(p.Counts()) != 0 {
		t.Error("counts are not reset")
	}
}

func TestRuleWithChanceIsTheSameForTheSameSeed(t *testing.T) {
	o := newOrigin(t)
	run := func() (statuses []int) {
		p := start(t, o.URL)
		p.Add(chaosproxy.Rule{Chance: 0.5, Do: chaosproxy.ServerError(500)})
		client := newClient(t)
		for range 40 {
			status, _, err := post(t, client, p.URL()+"/db", "")
			if err != nil {
				t.Fatal(err)
			}
			statuses = append(statuses, status)
		}
		return statuses
	}
	a, b := run(), run()
	if !slices.Equal(a, b) {
		t.Errorf("two runs differ:\n%v\n%v", a, b)
	}
	failed := 0
	for _, status := range a {
		if status == 500 {
			failed++
		}
	}
	if failed == 0 || failed == len(a) {
		t.Errorf("%d of %d requests failed", failed, len(a))
	}
}

func TestRemovedRuleActsNoMore(t *testing.T) {
	o := newOrigin(t)
	p := start(t, o.URL)
	rule := p.Add(chaosproxy.Rule{Do: chaosproxy.ServerError(500)})
	rule.Remove()
	rule.Remove()
	if status, _, err := post(t, newClient(t), p.URL(), ""); status != 200 || err != nil {
		t.Errorf("got %d, %v", status, err)
	}
}

func TestCutAnswerEndsInTheMiddleOfTheBody(t *testing.T) {
	o := newOrigin(t)
	p := start(t, o.URL)
	p.Add(chaosproxy.Rule{Do: chaosproxy.CutAnswer(1000)})
	_, body, err := post(t, newClient(t), p.URL()+"/db/_bulk_get", strings.Repeat("x", 100_000))
	if err == nil || len(body) != 1000 {
		t.Errorf("got %d bytes, %v; want 1000 and an error", len(body), err)
	}
	if len(o.bodies) != 1 {
		t.Error("the server has not carried out the request")
	}
}

func TestCutRequestReachesTheServerTruncated(t *testing.T) {
	o := newOrigin(t)
	p := start(t, o.URL)
	p.Add(chaosproxy.Rule{Times: 1, Do: chaosproxy.CutRequest(1000)})
	if status, _, err := post(t, newClient(t), p.URL()+"/db/_bulk_docs", strings.Repeat("x", 10_000_000)); err == nil {
		t.Errorf("got %d, want a cut connection", status)
	}
	if body := <-o.bodies; body != "broken" || o.broken.Load() != 1 {
		t.Errorf("the server got %d bytes whole", len(body))
	}
}

func TestDropAnswerLosesOnlyTheAnswer(t *testing.T) {
	o := newOrigin(t)
	p := start(t, o.URL)
	p.Add(chaosproxy.Rule{Times: 1, Do: chaosproxy.DropAnswer()})
	client := newClient(t)
	if status, _, err := post(t, client, p.URL()+"/db/_bulk_docs", "written"); err == nil {
		t.Fatalf("got %d, want a cut connection", status)
	}
	if body := <-o.bodies; body != "written" {
		t.Errorf("the server got %q", body)
	}
	if status, _, err := post(t, client, p.URL()+"/db/_bulk_docs", "again"); status != 200 || err != nil {
		t.Errorf("the next request got %d, %v", status, err)
	}
}

func TestHangHoldsTheRequestUntilTheRuleIsRemoved(t *testing.T) {
	o := newOrigin(t)
	p := start(t, o.URL)
	done, seen := make(chan error), make(chan struct{})
	rule := p.Add(chaosproxy.Rule{
		Match: func(*http.Request) bool { close(seen); return true },
		Do:    chaosproxy.Hang(),
	})
	client := newClient(t)
	go func() {
		_, _, err := post(t, client, p.URL()+"/db", "body")
		done <- err
	}()
	<-seen
	rule.Remove()
	if err := <-done; err == nil {
		t.Error("a held request was answered")
	}
	if len(o.paths) != 0 {
		t.Error("the server saw a held request")
	}
}

func TestHangAnswerStopsInTheMiddleUntilTheClientLeaves(t *testing.T) {
	o := newOrigin(t)
	p := start(t, o.URL)
	p.Add(chaosproxy.Rule{Do: chaosproxy.HangAnswer(10)})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+"/db", strings.NewReader(strings.Repeat("x", 5000)))
	res, err := newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if n, err := io.ReadFull(res.Body, make([]byte, 10)); n != 10 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	leave()
	if _, err := res.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("read on: %v", err)
	}
}

func TestDownServerResetsConnectionsUntilItIsUp(t *testing.T) {
	o := newOrigin(t)
	p := start(t, o.URL)
	client := newClient(t)
	if _, _, err := post(t, client, p.URL(), ""); err != nil {
		t.Fatal(err)
	}
	p.Down()
	for range 3 {
		if status, _, err := post(t, client, p.URL(), ""); err == nil {
			t.Errorf("a server that is down answered %d", status)
		}
	}
	p.Up()
	if _, _, err := post(t, client, p.URL(), ""); err != nil {
		t.Errorf("a server that is up again: %v", err)
	}
}

func TestCutAllEndsRequestsThatAreUnderWay(t *testing.T) {
	entered, done := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done() // the cut reaches the server as well
		close(done)
	}))
	defer server.Close()
	p := start(t, server.URL)
	failed := make(chan error)
	client := newClient(t)
	go func() {
		res, err := client.Get(p.URL())
		if err == nil {
			_ = res.Body.Close()
		}
		failed <- err
	}()
	<-entered
	p.CutAll()
	if err := <-failed; err == nil {
		t.Error("a cut request was answered")
	}
	<-done
}

func TestStartRefusesATargetWithoutHost(t *testing.T) {
	for _, target := range []string{"", "/db", "http://", "http://a b"} {
		if _, err := chaosproxy.Start(target, 0); err == nil {
			t.Errorf("Start(%q) is fine", target)
		}
	}
}

func TestCountsTellHowManyWaitedAtOnce(t *testing.T) {
	p := start(t, newOrigin(t).URL)
	held := p.Add(chaosproxy.Rule{Match: chaosproxy.On(chaosproxy.RevsDiff), Do: chaosproxy.Delay(time.Hour)})
	client := newClient(t)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if _, _, err := post(t, client, p.URL()+"/db/_revs_diff", "{}"); err != nil {
				t.Error(err)
			}
		})
	}
	for p.Counts()[chaosproxy.RevsDiff].Requests < 3 {
		runtime.Gosched()
	}
	held.Remove()
	group.Wait()
	for range 3 { // one after the other
		if _, _, err := post(t, client, p.URL()+"/db/_bulk_docs", "{}"); err != nil {
			t.Fatal(err)
		}
	}
	for kind, want := range map[chaosproxy.Endpoint]int{chaosproxy.RevsDiff: 3, chaosproxy.BulkDocs: 1} {
		if got := p.Counts()[kind].AtOnce; got != want {
			t.Errorf("%s: %d at once, want %d", kind, got, want)
		}
	}
}
