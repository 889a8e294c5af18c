package couch_test

import (
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nuid"
	"github.com/stretchr/testify/require"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
)

// sharded is a front that gives a server two shards, one of which is ill.
type sharded struct {
	behind http.Handler
	ill    string // shard
	local  []string
}

func shardIn(path string) string {
	id := strings.TrimPrefix(path, "/db/")
	return fmt.Sprint(crc32.ChecksumIEEE([]byte(id)) >> 31)
}

func (s *sharded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id, ok := strings.CutPrefix(r.URL.Path, "/db/_shards/"); ok {
		fmt.Fprintf(w, `{"range":%q,"nodes":["n"]}`, shardIn("/db/"+id))
		return
	}
	if strings.HasPrefix(r.URL.Path, "/db/_local/") {
		s.local = append(s.local, r.Method)
		if shardIn(r.URL.Path) == s.ill {
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"error":"unknown_error","reason":"enospc"}`) //nolint:errcheck // a test server
			return
		}
	}
	s.behind.ServeHTTP(w, r)
}

func TestBesideTellsWhetherTheShardOfADocumentWorks(t *testing.T) {
	pond := millpond.New(millpond.Options{})
	defer pond.Close()
	front := &sharded{behind: pond}
	server := httptest.NewServer(front)
	defer server.Close()
	db, err := couch.Open(couch.Endpoint{URL: server.URL + "/db"}, couch.Options{Retries: -1})
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Create(t.Context(), nil))
	seen := map[bool]int{}
	for i := range 40 {
		id := fmt.Sprintf("doc-%d", i)
		for _, front.ill = range []string{"", "0", "1"} {
			works := front.ill != shardIn("/db/"+id)
			seen[works]++
			require.Equal(t, works, db.WriteBeside(t.Context(), id) == nil, id)
			require.Equal(t, works, db.ReadBeside(t.Context(), id) == nil, id)
		}
	}
	require.NotZero(t, seen[false])
	require.Contains(t, front.local, http.MethodDelete, "nothing is left there")
}

func TestBesideWithoutShardsAndWithoutADatabase(t *testing.T) {
	pond := millpond.New(millpond.Options{})
	defer pond.Close()
	server := httptest.NewServer(pond)
	defer server.Close()
	db, err := couch.Open(couch.Endpoint{URL: server.URL + "/db"}, couch.Options{Retries: -1})
	require.NoError(t, err)
	defer db.Close()
	require.Error(t, db.WriteBeside(t.Context(), "doc"), "there is no database")
	require.Error(t, db.ReadBeside(t.Context(), "doc"), "there is no database")
	require.NoError(t, db.Create(t.Context(), nil))
	require.NoError(t, db.WriteBeside(t.Context(), "doc"))
	require.NoError(t, db.ReadBeside(t.Context(), "doc"))
}

func TestBesideOnRealCouchDB(t *testing.T) {
	servers := os.Getenv("MILLRACE_TEST_COUCHDB")
	if servers == "" {
		t.Skip("MILLRACE_TEST_COUCHDB is not set")
	}
	address, _, _ := strings.Cut(servers, ",")
	u, err := url.Parse(address)
	require.NoError(t, err)
	password, _ := u.User.Password()
	endpoint := couch.Endpoint{Username: u.User.Username(), Password: password}
	u.User = nil
	endpoint.URL = u.JoinPath("millrace_beside_" + strings.ToLower(nuid.Next())).String()
	db, err := couch.Open(endpoint, couch.Options{})
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Create(t.Context(), url.Values{"q": {"8"}}))
	defer db.Delete(t.Context()) //nolint:errcheck // a database of the test's own
	for i := range 10 {
		require.NoError(t, db.WriteBeside(t.Context(), fmt.Sprintf("doc-%d", i)))
		require.NoError(t, db.ReadBeside(t.Context(), fmt.Sprintf("doc-%d", i)))
	}
	// What CouchDB's own code crashes at looks like this.
	digits := strings.Repeat("1", 5000)
	_, err = db.BulkDocs(t.Context(), [][]byte{[]byte(`{"_id":"doc","_rev":"1-a","n":` + digits + `}`)}, couch.BulkDocsOptions{Once: true})
	require.True(t, couch.Suspects(err), "%v", err)
	require.Equal(t, couch.Transient, couch.Classify(err))
}
