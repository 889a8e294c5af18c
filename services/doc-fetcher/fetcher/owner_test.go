package fetcher_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nuid"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/fetcher"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// peers are sources of both kinds: our own, and CouchDB where the environment names one.
func peers(t *testing.T) map[string]func(t *testing.T) *databasetest.Database {
	t.Helper()
	all := map[string]func(t *testing.T) *databasetest.Database{
		"millpond": func(t *testing.T) *databasetest.Database { return databasetest.New(t, millpond.Options{}) },
	}
	server, _, _ := strings.Cut(os.Getenv("MILLRACE_TEST_COUCHDB"), ",")
	if server == "" {
		return all
	}
	all["CouchDB"] = func(t *testing.T) *databasetest.Database {
		t.Helper()
		scheme, rest, _ := strings.Cut(server, "://")
		userinfo, host, ok := strings.Cut(rest, "@")
		if !ok {
			userinfo, host = "", rest
		}
		user, password, _ := strings.Cut(userinfo, ":")
		d := &databasetest.Database{URL: fmt.Sprintf("%s://%s/bodies-%s", scheme, strings.TrimSuffix(host, "/"), strings.ToLower(nuid.Next())), User: user, Password: password}
		var err error
		if d.DB, err = couch.Open(couch.Endpoint{URL: d.URL, Username: user, Password: password}, couch.Options{}); err != nil {
			t.Fatal(err)
		}
		d.Recreate(t)
		t.Cleanup(func() {
			if err := d.Delete(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
			d.Close()
		})
		return d
	}
	return all
}

// Between the feed and the fetch the owner of documents changes, away from the job's filter and within it, and one is
// deleted. What came in their place is decided on again (invariant 8).
func TestOwnerThatChangesBeforeTheFetchIsDecidedOnAgain(t *testing.T) {
	t.Parallel()
	for name, open := range peers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := open(t), databasetest.New(t, millpond.Options{})
			const (
				joe, ann = `,"owner":"joe"` + photo, `,"owner":"ann"` + photo // the selector does not hand them over
				first    = "1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"
				second   = "2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f"
			)
			source.Write(t, doc("away", joe, first), doc("within", joe, first), doc("to-joe", ann, first), doc("deleted", joe, first), doc("as-it-was", joe, first))
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(fetcher.Name)})
			job := p.Submit(source, target, `,"selector":{"owner":"joe"}`)
			missing := &millracev1.MissingBatch{}
			p.Decode(p.AwaitMessages(p.Broker().Streams().Missing, ">", 1)[0], missing)
			if len(missing.Docs) != 4 {
				t.Errorf("missing %v", missing.Docs)
			}
			source.Write(t, doc("away", ann, second, first), doc("within", joe, second, first), doc("to-joe", joe, second, first), doc("deleted", `,"_deleted":true`, second, first))
			p.Run(fetcher.Name)
			done := p.Finish(job.Id)
			want := fmt.Sprint(map[string][]string{"within": {"2-" + second}, "as-it-was": {"1-" + first}})
			if got := fmt.Sprint(target.Leaves(t)); got != want {
				t.Errorf("the target has %s, want %s", got, want)
			}
			if c := done.Totals; c.DocsRead != 2 || c.DocsWritten != 2 || c.DocWriteFailures != 0 {
				t.Errorf("counted %v", c)
			}
		})
	}
}
