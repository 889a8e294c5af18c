package fetcher_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"millrace/pkg/millpond"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// mixture is a source with documents of every kind: small ones, conflicts, tombstones, with attachments that travel
// inside and apart.
func mixture(t *testing.T, small int) *databasetest.Database {
	t.Helper()
	s := databasetest.New(t, millpond.Options{})
	s.Fill(t, 0, small)
	for i := range 5 {
		id := fmt.Sprint("many-", i)
		s.Write(t, doc(id, "", "left", "aaaa"), doc(id, "", "right", "aaaa"), doc(id, `,"_deleted":true`, "dead", "aaaa"))
		s.Write(t, doc(fmt.Sprint("photo-", i), photo, "aaaa"))
		s.PutAttachment(t, fmt.Sprint("apart-", i), "a.bin", strings.Repeat("0123456789", 130_000))
	}
	return s
}

const photo = `,"_attachments":{"p.png":{"content_type":"image/png","revpos":1,"data":"iVBORw0KGgo="}}`

func doc(id, members string, hashes ...string) string {
	return fmt.Sprintf(`{"_id":%q,"_rev":"%d-%s","_revisions":{"start":%d,"ids":["%s"]}%s}`,
		id, len(hashes), hashes[0], len(hashes), strings.Join(hashes, `","`), members)
}

func databases(t *testing.T, n int) []*databasetest.Database {
	t.Helper()
	all := make([]*databasetest.Database, n)
	for i := range all {
		all[i] = databasetest.New(t, millpond.Options{})
	}
	return all
}

func awaitSame(t *testing.T, p *pipelinetest.Pipeline, source *databasetest.Database, targets ...*databasetest.Database) {
	t.Helper()
	want := len(source.Leaves(t))
	for i, target := range targets {
		p.Await(fmt.Sprintf("target %d has all documents", i), func() bool { return len(target.Leaves(t)) == want })
	}
	for _, target := range targets {
		databasetest.SameLeaves(t, source, target)
	}
}

// counted is a source behind a counter of what it is asked and hands out.
type counted struct {
	*databasetest.Database
	requests, bytes atomic.Int64
}

func count(t *testing.T, source *databasetest.Database) *counted {
	t.Helper()
	c := &counted{}
	behind, err := url.Parse(strings.TrimSuffix(source.URL, "/db"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind) },
		ModifyResponse: func(r *http.Response) error {
			r.Body = &counting{r.Body, &c.bytes}
			return nil
		},
		Transport: &http.Transport{DisableKeepAlives: true},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Count(r.URL.Path, "/") > 1 && !strings.Contains(r.URL.Path, "_local") {
			c.requests.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	again := *source
	again.URL = front.URL + "/db"
	c.Database = &again
	return c
}

type counting struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

// cost is what the jobs of a feed make of the source and of the broker.
type cost struct{ requests, bytes, messages, stored int64 }

func costOf(t *testing.T, targets int) cost {
	t.Helper()
	source, to := count(t, mixture(t, 600)), databases(t, targets)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Stages()})
	p.Feed(source.Database, to, 100, nil)
	awaitSame(t, p, source.Database, to...)
	messages, stored := bodiesIn(t, p)
	return cost{source.requests.Load(), source.bytes.Load(), messages, stored}
}

// bodiesIn is how many messages stand in BODIES, and their bytes.
func bodiesIn(t *testing.T, p *pipelinetest.Pipeline) (messages, bytes int64) {
	t.Helper()
	s, err := p.Broker().JetStream().Stream(p.Context(), p.Broker().Streams().Bodies)
	if err != nil {
		t.Fatal(err)
	}
	state := s.CachedInfo().State
	return int64(state.Msgs), int64(state.Bytes)
}

// Invariant 4: what a source serves, and what crosses the broker of it, does not grow with its targets.
func TestSourceIsReadOnceForAllTargets(t *testing.T) {
	counts := []int{4, 16, 64}
	if underRace {
		counts = counts[:1]
	}
	one := costOf(t, 1)
	for _, n := range counts {
		many := costOf(t, n)
		for what, c := range map[string][2]int64{
			"requests":               {one.requests, many.requests},
			"bytes from the source":  {one.bytes, many.bytes},
			"messages in the broker": {one.messages, many.messages},
			"bytes in the broker":    {one.stored, many.stored},
		} {
			if c[1]*100 > c[0]*105 {
				t.Errorf("%s: %d for one target, %d for %d", what, c[0], c[1], n)
			}
		}
	}
}
