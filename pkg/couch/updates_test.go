package couch

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// updates reads a feed that the server answers with body, up to its error.
func updates(t *testing.T, handler http.HandlerFunc, onHeartbeat func()) ([]Update, *Updates, error) {
	t.Helper()
	u, err := serve(t, handler).Updates(t.Context(), StringSeq("4-x"), onHeartbeat)
	require.NoError(t, err)
	defer u.Close() //nolint:errcheck // nothing is written
	var all []Update
	for {
		update, err := u.Next()
		if err != nil {
			_, again := u.Next()
			require.Equal(t, err, again)
			return all, u, err
		}
		all = append(all, update)
	}
}

func TestUpdatesAreReadBelowTheServersBasePath(t *testing.T) {
	var asked []string
	s := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		if r.URL.Query().Get("feed") == "continuous" {
			_, _ = io.WriteString(w, `{"last_seq":"7-y"}`+"\n")
			return
		}
		_, _ = io.WriteString(w, "{\"results\":[\n\n],\n\"last_seq\":\"4-x\"}\n")
	})
	db := serve(t, s)
	db = openAt(t, db.server.root.String()+"/base%2Fpath/b/a%2Fb", Options{ConnectionTimeout: 3e9})
	seq, err := db.UpdatesSeq(t.Context())
	require.NoError(t, err)
	require.Equal(t, StringSeq("4-x"), seq)
	u, err := db.Updates(t.Context(), seq, nil)
	require.NoError(t, err)
	_, err = u.Next()
	require.Equal(t, io.EOF, err)
	require.Equal(t, StringSeq("7-y"), u.LastSeq())
	require.NoError(t, u.Close())
	require.Equal(t, []string{
		"/base%2Fpath/b/_db_updates?limit=0&since=now",
		"/base%2Fpath/b/_db_updates?feed=continuous&heartbeat=1000&since=4-x",
	}, asked)
}

func TestUpdatesNameDatabasesWithoutEscapes(t *testing.T) {
	beats := 0
	got, u, err := updates(t, answer("\n"+`{"db_name":"a/b+c","type":"updated","seq":"5-x"}`+"\n\n\n"+
		`{"db_name":"\u00fc","type":"deleted","seq":6}`+"\n"+`{"last_seq":"9-x"}`+"\n"), func() { beats++ })
	require.Equal(t, io.EOF, err)
	require.Equal(t, []Update{
		{Name: "a/b+c", Type: "updated", Seq: StringSeq("5-x")}, {Name: "ü", Type: "deleted", Seq: seq(t, "6")},
	}, got)
	require.Equal(t, StringSeq("9-x"), u.LastSeq())
	require.Equal(t, 3, beats)
}

func TestUpdatesThatBreakAreCut(t *testing.T) {
	first := `{"db_name":"a","type":"updated","seq":"5-x"}` + "\n"
	for name, handler := range map[string]http.HandlerFunc{
		"connection": cutAfter(first), "no end": answer(first), "no name": answer(first + `{"type":"updated"}` + "\n"),
		"not JSON": answer(first + "<html>\n"), "error": answer(first + `{"error":"timeout","reason":"x"}` + "\n"),
		"a name that is none": answer(first + `{"db_name":3}` + "\n"), "null": answer(first + "null\n"),
	} {
		got, u, err := updates(t, handler, nil)
		require.Len(t, got, 1, name)
		var cut *CutError
		require.True(t, errors.As(err, &cut), "%s: %v", name, err)
		require.True(t, u.LastSeq().IsNull(), name)
	}
}

func TestUpdatesWithoutASeqAreAnError(t *testing.T) {
	for _, body := range []string{`{"results":[]}`, `{"results":[],"last_seq":null}`, `[]`, ``} {
		db := openAt(t, serve(t, answer(body)).String(), Options{Retries: -1})
		_, err := db.UpdatesSeq(t.Context())
		require.Error(t, err, body)
	}
}

// A server that refuses to be asked for updates too often is not the database.
func TestUpdatesHaveARateOfTheirOwn(t *testing.T) {
	db := openAt(t, "http://h/db", Options{})
	other := openAt(t, "http://h/other", Options{})
	require.NotEqual(t, db.rateKey(db.request(http.MethodGet, "")), db.rateKey(db.updatesRequest()))
	require.Equal(t, other.rateKey(other.updatesRequest()), db.rateKey(db.updatesRequest()))
}

func TestLoginIsSharedByDatabasesThatShareConnections(t *testing.T) {
	pool := NewPool(nil)
	open := func(ep Endpoint, o Options) *DB {
		db, err := pool.Open(ep, o)
		require.NoError(t, err)
		t.Cleanup(db.Close)
		return db
	}
	one := open(Endpoint{URL: "http://h/a"}, Options{})
	require.Equal(t, one.Login(), open(Endpoint{URL: "http://h/b"}, Options{}).Login())
	require.NotEqual(t, one.Login(), open(Endpoint{URL: "http://h/p/b"}, Options{}).Login())
	require.NotEqual(t, one.Login(), open(Endpoint{URL: "http://h/b", Username: "u"}, Options{}).Login())
}
