package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	"millrace/pkg/service"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/replicator/replicator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pond is a millpond with one database.
func pond(t *testing.T) *couch.DB {
	t.Helper()
	p := millpond.New(millpond.Options{})
	server := httptest.NewServer(p)
	t.Cleanup(func() {
		p.Close()
		server.Close()
	})
	return database(t, server.URL+"/db")
}

func database(t *testing.T, url string) *couch.DB {
	t.Helper()
	db, err := couch.Open(couch.Endpoint{URL: url}, couch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return db
}

func fill(t *testing.T, db *couch.DB, first, n int) {
	t.Helper()
	var docs [][]byte
	for i := first; i < first+n; i++ {
		docs = append(docs, fmt.Appendf(nil, `{"_id":"doc-%06d","n":%d,"text":%q}`, i, i, bytes.Repeat([]byte("x"), 200)))
	}
	if _, err := db.BulkDocs(t.Context(), docs, couch.BulkDocsOptions{NewEdits: true}); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, dir string) *Node {
	t.Helper()
	c := service.FromEnvironment()
	c.NATS = ""
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	n, err := Start(t.Context(), Options{
		Config: c, DataDir: dir, UUIDFile: dir + "/uuid", Log: log,
		Replicator: replicator.Options{FailPermanent: true, Backoff: func(int) time.Duration { return 50 * time.Millisecond }},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func job(t *testing.T, source, target *couch.DB, options string) replication.Job {
	t.Helper()
	spec, err := replication.ParseSpec(fmt.Appendf(nil, `{"source":%q,"target":%q%s}`, source.String(), target.String(), options))
	if err != nil {
		t.Fatal(err)
	}
	return spec.Jobs()[0]
}

// finish waits until the job is at its end.
func finish(t *testing.T, n *Node, id string) *millracev1.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ends := make(chan *millracev1.Job, 1)
	err := n.Jobs().Watch(ctx, func(key string, j *millracev1.Job) {
		if key == id && j != nil && replication.State(j.State).Terminal() {
			select {
			case ends <- j:
				cancel()
			default:
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case j := <-ends:
		return j
	default:
		t.Fatal("the job did not end within a minute")
		return nil
	}
}

func TestOneShotReplicatesEverythingAndResumesFromItsCheckpoint(t *testing.T) {
	source, target := pond(t), pond(t)
	fill(t, source, 0, 5000)
	n := start(t, t.TempDir())
	defer func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}()
	submitted, err := n.Registry().Submit(t.Context(), job(t, source, target, ""))
	if err != nil {
		t.Fatal(err)
	}
	done := finish(t, n, submitted.Id)
	if done.State != string(replication.Completed) {
		t.Fatalf("%s: %s", done.State, done.Reason)
	}
	if got := done.Totals; got.DocsWritten != 5000 || got.DocWriteFailures != 0 {
		t.Fatalf("counted %v", got)
	}
	info, err := target.Info(t.Context())
	if err != nil || info.DocCount != 5000 {
		t.Fatalf("%d documents at the target, %v", info.DocCount, err)
	}
}
