package verify

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
)

// pond is a Millpond with its address.
type pond struct {
	*millpond.Server
	url string
}

func newPond(t testing.TB) *pond {
	t.Helper()
	s := millpond.New(millpond.Options{})
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		web.CloseClientConnections()
		web.Close()
	})
	return &pond{Server: s, url: web.URL}
}

// database is a new database, deleted after the test.
func database(t testing.TB, server string) *couch.DB {
	t.Helper()
	ep, err := couch.ParseEndpoint(strings.TrimRight(server, "/") + "/verify_test_" + strings.ToLower(rand.Text()))
	require.NoError(t, err)
	servers.Store(ep.URL, server)
	t.Cleanup(func() { servers.Delete(ep.URL) })
	db, err := couch.Open(ep, couch.Options{})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	require.NoError(t, db.Create(t.Context(), nil))
	t.Cleanup(func() { require.NoError(t, db.Delete(context.WithoutCancel(t.Context()))) })
	return db
}

// servers are the URLs of the servers of databases, by the database's.
var servers sync.Map

// sibling is another database of the same server.
func sibling(t testing.TB, of *couch.DB) *couch.DB {
	t.Helper()
	server, ok := servers.Load(of.String())
	require.True(t, ok, of)
	return database(t, server.(string))
}

// onPairs runs the test on two Millponds, and on each two neighbours among the
// servers in MILLRACE_TEST_COUCHDB (URLs separated by commas), the last and the first
// among them.
func onPairs(t *testing.T, test func(t *testing.T, a, b *couch.DB)) {
	t.Helper()
	t.Run("millpond", func(t *testing.T) {
		test(t, database(t, newPond(t).url), database(t, newPond(t).url))
	})
	urls := strings.FieldsFunc(os.Getenv("MILLRACE_TEST_COUCHDB"), func(r rune) bool { return r == ',' })
	for i := range urls {
		t.Run(fmt.Sprintf("server%d", i), func(t *testing.T) {
			test(t, database(t, urls[i]), database(t, urls[(i+1)%len(urls)]))
		})
	}
}

// write writes documents as replication does.
func write(t testing.TB, db *couch.DB, docs ...string) {
	t.Helper()
	raw := make([][]byte, len(docs))
	for i, doc := range docs {
		raw[i] = []byte(doc)
	}
	results, err := db.BulkDocs(t.Context(), raw, couch.BulkDocsOptions{})
	require.NoError(t, err)
	require.Empty(t, results)
}

// hash is 32 hex digits that name a revision.
func hash(n int) string { return fmt.Sprintf("%032x", n) }

// rev is a revision with such a hash.
func rev(pos, n int) string { return fmt.Sprintf("%d-%s", pos, hash(n)) }

// doc is a document of generation 1; body is its members, which may be none.
func doc(id string, n int, body string) string {
	text := fmt.Sprintf(`{"_id":%q,"_rev":%q`, id, rev(1, n))
	if body != "" {
		text += "," + body
	}
	return text + "}"
}

// after is a document with ancestors, newest first; the first is its own hash.
func after(id string, body string, hashes ...int) string {
	ids := make([]string, len(hashes))
	for i, n := range hashes {
		ids[i] = fmt.Sprintf("%q", hash(n))
	}
	text := fmt.Sprintf(`{"_id":%q,"_rev":%q,"_revisions":{"start":%d,"ids":[%s]}`,
		id, rev(len(hashes), hashes[0]), len(hashes), strings.Join(ids, ","))
	if body != "" {
		text += "," + body
	}
	return text + "}"
}

// compared compares, without waits.
func compared(t testing.TB, a, b *couch.DB, o Options) *Report {
	t.Helper()
	if o.RecheckInterval == 0 {
		o.RecheckInterval = 1
	}
	report, err := Compare(t.Context(), a, b, o)
	require.NoError(t, err)
	return report
}
