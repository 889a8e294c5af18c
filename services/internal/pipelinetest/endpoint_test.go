package pipelinetest_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// front is a server before a database.
func front(t *testing.T, d *databasetest.Database, see http.HandlerFunc, start func(*httptest.Server)) string {
	t.Helper()
	at, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = at.Scheme, at.Host },
		FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(w, r)
		pass.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(s)
	t.Cleanup(s.Close)
	return s.URL + at.Path
}

// tunnel is a proxy that does nothing but CONNECT.
func tunnel(t *testing.T) (address string, used *atomic.Int64) {
	t.Helper()
	used = new(atomic.Int64)
	var open sync.WaitGroup
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := net.Dial("tcp", r.Host)
		if r.Method != http.MethodConnect || err != nil || !strings.HasPrefix(r.Header.Get("Proxy-Authorization"), "Basic ") {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		used.Add(1)
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		end := func() { _ = from.Close(); _ = to.Close() }
		open.Go(func() { defer end(); _, _ = io.Copy(to, buffered) })
		open.Go(func() { defer end(); _, _ = io.Copy(from, to) })
	}))
	t.Cleanup(func() { s.Close(); open.Wait() })
	return strings.Replace(s.URL, "//", "//u:p@", 1), used
}

// Everything between the databases and the services at once: TLS with an authority of its own and a
// proxy at the source, a token at the target.
func TestEndpointsAreReachedAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 50)
	var authority string
	secure := front(t, source, func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server) {
		s.StartTLS()
		authority = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	})
	var without atomic.Int64
	guarded := front(t, target, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" {
			without.Add(1)
		}
	}, (*httptest.Server).Start)
	proxy, used := tunnel(t)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Finish(p.SubmitDocument(fmt.Appendf(nil, `{"source":{"url":%q,"tls":{"ca":%q}},"source_proxy":%q,"target":{"url":%q,"auth":{"bearer":{"token":"t"}}}}`,
		secure, authority, proxy, guarded)).Id)
	databasetest.SameLeaves(t, source, target)
	if used.Load() == 0 || without.Load() != 0 {
		t.Errorf("%d tunnels, %d requests without the token", used.Load(), without.Load())
	}
	if len(job.Notes) != 0 {
		t.Errorf("notes %q", job.Notes)
	}
}

func TestUnverifiedServerIsSaid(t *testing.T) {
	t.Parallel()
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 5)
	secure := front(t, source, func(http.ResponseWriter, *http.Request) {}, (*httptest.Server).StartTLS)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	verified := p.SubmitDocument(fmt.Appendf(nil, `{"source":%q,"target":%q,"retries_per_request":0,"doc_ids":["a"]}`, secure, target.URL))
	job := p.Finish(p.SubmitDocument(fmt.Appendf(nil, `{"source":{"url":%q,"tls":{"insecure_skip_verify":true}},"target":%q}`, secure, target.URL)).Id)
	if len(job.Notes) != 1 || !strings.Contains(job.Notes[0], "the certificate of the source is not verified") {
		t.Errorf("notes %q", job.Notes)
	}
	databasetest.SameLeaves(t, source, target)
	p.AwaitJob(verified.Id, "crashes", func(j *millracev1.Job) bool {
		return strings.Contains(j.Reason, "certificate signed by unknown authority")
	})
}

// Jobs say with which patience they talk to the same database; neither changes the other's.
func TestJobsKeepTheirOwnSettings(t *testing.T) {
	t.Parallel()
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	p := pipelinetest.Start(t, pipelinetest.Options{})
	one := p.Submit(source, target, `,"http_connections":3`)
	other := p.Submit(source, target, `,"http_connections":4,"doc_ids":["a"]`)
	store := p.Env().Endpoints("default")
	for _, c := range []struct {
		job  *millracev1.Job
		want int
	}{{one, 3}, {other, 4}} {
		e, _, err := store.Get(t.Context(), c.job.Source)
		if err != nil || e.HTTPConnections != c.want {
			t.Errorf("%d connections, want %d: %v", e.HTTPConnections, c.want, err)
		}
	}
}
