package reader_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"millrace/pkg/couch"
	"millrace/pkg/credential"
	"millrace/pkg/endpoint"
	"millrace/pkg/service"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/changes-reader/quiet"
	"millrace/services/changes-reader/reader"
	"millrace/services/internal/pipelinetest"
)

// Quiet feeds of a real server sleep and wake. That they sleep shows in what the reader logs: a server that is
// shared has feeds of others.
func TestQuietFeedsOfCouchDB(t *testing.T) {
	for i, address := range strings.FieldsFunc(os.Getenv("MILLRACE_TEST_COUCHDB"), func(r rune) bool { return r == ',' }) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			const n = 5
			log := &logged{}
			o := sleepers(quiet.Options{Least: n})
			o.Services, o.Log = []string{reader.Name}, log
			p := pipelinetest.Start(t, o)
			var dbs []*couch.DB
			var feeds []string
			for i := range n {
				db := couchDatabase(t, address, fmt.Sprintf("quiet_%d_%d/a+b", os.Getpid(), i))
				dbs, feeds = append(dbs, db), append(feeds, follow(t, p, address, db.Name()))
				put(t, db, "first")
			}
			for i := range n {
				comes(t, p, feeds[i], "first")
			}
			for _, doc := range []string{"second", "third"} {
				log.await(p, n)
				for i, db := range dbs {
					put(t, db, doc)
					comes(t, p, feeds[i], doc)
				}
			}
			log.await(p, n)
			recreate(t, dbs[0])
			put(t, dbs[0], "of another database")
			comes(t, p, feeds[0], "of another database")
		})
	}
}

func couchDatabase(t *testing.T, address, name string) *couch.DB {
	t.Helper()
	ep, err := couch.ParseEndpoint(strings.TrimSuffix(address, "/") + "/" + url.QueryEscape(name))
	if err != nil {
		t.Fatal(err)
	}
	db, err := couch.Open(ep, couch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = db.Delete(context.WithoutCancel(t.Context()))
		db.Close()
	})
	recreate(t, db)
	return db
}

func recreate(t *testing.T, db *couch.DB) {
	t.Helper()
	if err := db.Delete(t.Context()); err != nil && !couch.IsNotFound(err) {
		t.Fatal(err)
	}
	if err := db.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, db *couch.DB, id string) {
	t.Helper()
	docs := [][]byte{fmt.Appendf(nil, `{"_id":%q}`, id)}
	if _, err := db.BulkDocs(t.Context(), docs, couch.BulkDocsOptions{NewEdits: true}); err != nil {
		t.Fatal(err)
	}
}

// follow makes a live feed of a database at a server. Its id is made of the name.
func follow(t *testing.T, p *pipelinetest.Pipeline, address, name string) string {
	t.Helper()
	ep, err := couch.ParseEndpoint(strings.TrimSuffix(address, "/") + "/" + url.QueryEscape(name))
	if err != nil {
		t.Fatal(err)
	}
	e := endpoint.Endpoint{URL: ep.URL, Settings: endpoint.Settings{ConnectionTimeout: patience, RetriesPerRequest: 5}}
	if ep.Username != "" {
		e.Auth = credential.Auth{Kind: credential.Basic, User: ep.Username, Password: credential.Text(ep.Password)}
	}
	ref, err := p.Env().Endpoints(service.DefaultSite).Put(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	f := &millracev1.Feed{
		Id: fmt.Sprintf("%x", name), Site: service.DefaultSite, Source: ref, Live: true, Since: []byte("0"), Style: "all_docs", BatchRows: 10,
		Roster: []*millracev1.RosterEntry{{Job: "job", Run: 4, TargetSite: service.DefaultSite}},
	}
	if _, err := p.Feeds().Write(t.Context(), f, 0); err != nil {
		t.Fatal(err)
	}
	return f.Id
}

// logged is what the reader logs. It counts those that have fallen asleep.
type logged struct {
	mu     sync.Mutex
	asleep int
}

// Write implements io.Writer: a line at a time.
func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(line, []byte("feed sleeps")) {
		l.asleep++
	}
	return len(line), nil
}

// await waits until so many more readers have fallen asleep, and forgets them.
func (l *logged) await(p *pipelinetest.Pipeline, n int) {
	p.Await("feeds to sleep", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.asleep < n {
			return false
		}
		l.asleep = 0
		return true
	})
}
