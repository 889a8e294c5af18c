package couch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// iamServer exchanges the key "key" for tokens, and is a database that takes the newest.
type iamServer struct {
	mu        sync.Mutex
	exchanges int
	refused   int
	token     string
	fail      int // status of the exchange, if not 0
}

func (s *iamServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/identity/token" {
		s.exchange(w, r)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		s.refused++
		status(401, `{"error":"unauthorized","reason":"token is not valid"}`)(w, r)
		return
	}
	_, _ = io.WriteString(w, `{"db_name":"db"}`)
}

func (s *iamServer) exchange(w http.ResponseWriter, r *http.Request) {
	s.exchanges++
	switch {
	case s.fail != 0:
		status(s.fail, `{}`)(w, r)
	case r.Method != http.MethodPost || r.FormValue("grant_type") != "urn:ibm:params:oauth:grant-type:apikey" || r.FormValue("apikey") != "key":
		status(400, `{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}`)(w, r)
	default:
		s.token = fmt.Sprintf("token%d", s.exchanges)
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"refresh_token":"x","token_type":"Bearer","expires_in":3600}`, s.token)
	}
}

func (s *iamServer) open(t *testing.T, pool *Pool, url, db, key string) *DB {
	t.Helper()
	d, err := pool.Open(Endpoint{URL: url + "/" + db, IAM: IAM{APIKey: key, URL: url + "/identity/token"}}, Options{RetryInterval: time.Millisecond, Retries: 2})
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

func serveIAM(t *testing.T) (*iamServer, *Pool, string, *clock) {
	t.Helper()
	s := &iamServer{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	pool, c := NewPool(nil), &clock{at: time.Now()}
	pool.tokens.now = c.now
	return s, pool, server.URL, c
}

func TestAPIKeyIsExchangedOnceForAllDatabasesOfAnAccount(t *testing.T) {
	s, pool, url, _ := serveIAM(t)
	var all sync.WaitGroup
	for i := range 8 {
		db := s.open(t, pool, url, fmt.Sprintf("db%d", i), "key")
		all.Go(func() {
			_, err := db.Info(context.Background())
			require.NoError(t, err)
		})
	}
	all.Wait()
	require.Equal(t, 1, s.exchanges)
	require.Zero(t, s.refused)
}

func TestIAMTokenIsReplacedBeforeItEnds(t *testing.T) {
	s, pool, url, clock := serveIAM(t)
	db := s.open(t, pool, url, "db", "key")
	requireInfo(t, db)
	clock.pass(47 * time.Minute)
	requireInfo(t, db)
	require.Equal(t, 1, s.exchanges)
	clock.pass(2 * time.Minute)
	requireInfo(t, db)
	require.Equal(t, 2, s.exchanges)
	require.Zero(t, s.refused, "no request met the end of a token")
}

func TestIAMTokenThatIsGoodOutlivesAnExchangeThatFails(t *testing.T) {
	s, pool, url, clock := serveIAM(t)
	db := s.open(t, pool, url, "db", "key")
	requireInfo(t, db)
	s.fail = 503
	clock.pass(50 * time.Minute)
	requireInfo(t, db)
	requireInfo(t, db)
	require.Equal(t, 2, s.exchanges, "and it is not asked again with every request")
	clock.pass(11 * time.Minute)
	_, err := db.Info(context.Background())
	require.Equal(t, 503, refusalIn(t, err).Status)
	require.ErrorContains(t, err, "/identity/token")
	require.Equal(t, Transient, Classify(err))
	s.fail = 0
	requireInfo(t, db)
}

func TestIAMTokenThatIsRefusedIsReplaced(t *testing.T) {
	s, pool, url, clock := serveIAM(t)
	db := s.open(t, pool, url, "db", "key")
	requireInfo(t, db)
	s.token = "revoked"
	requireInfo(t, db)
	require.Equal(t, []int{2, 1}, []int{s.exchanges, s.refused})
	for range 3 { // the new one is refused too: it is not the token's fault
		s.token = "none"
		_, err := db.Info(context.Background())
		require.True(t, IsUnauthorized(err), err)
	}
	require.Equal(t, 2, s.exchanges)
	clock.pass(renewalPause)
	requireInfo(t, db)
}

func TestAPIKeyThatIsNotKnownIsPermanentAndNotShown(t *testing.T) {
	s, pool, url, _ := serveIAM(t)
	_, err := s.open(t, pool, url, "db", "secret").Info(context.Background())
	require.EqualError(t, err, "POST "+url+"/identity/token: 400 BXNIM0415E: Provided API key could not be found.")
	require.Equal(t, Permanent, Classify(err))
	require.Equal(t, 1, s.exchanges)
}

func TestAnswerWithoutATokenIsNoToken(t *testing.T) {
	server := httptest.NewServer(answer(`{"refresh_token":"secret"}`))
	t.Cleanup(server.Close)
	db, err := Open(Endpoint{URL: server.URL + "/db", IAM: IAM{APIKey: "k", URL: server.URL}}, Options{Retries: -1})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	_, err = db.Info(context.Background())
	require.ErrorContains(t, err, "no access_token")
	require.NotContains(t, err.Error(), "secret")
}

func TestBadExchangesAreRefused(t *testing.T) {
	for _, url := range []string{"ftp://h", "http://", "http://u:secret@h/x", "%"} {
		_, err := Open(Endpoint{URL: "http://h/db", IAM: IAM{APIKey: "k", URL: url}}, Options{})
		require.ErrorIs(t, err, ErrBadEndpoint)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestMissingExchangeIsNoMissingDatabase(t *testing.T) {
	server := httptest.NewServer(status(404, `{"error":"not_found"}`))
	t.Cleanup(server.Close)
	db, err := Open(Endpoint{URL: server.URL + "/db", IAM: IAM{APIKey: "k", URL: server.URL + "/typo"}}, Options{Retries: -1})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	_, err = db.Info(context.Background())
	require.ErrorContains(t, err, "/typo: 404")
	require.False(t, IsNotFound(err))
	require.Equal(t, Permanent, Classify(err))
}
