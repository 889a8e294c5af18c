package couch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRedirectsKeepMethodAndBody(t *testing.T) {
	for _, code := range []int{301, 302, 307, 308} {
		s := &script{steps: []http.HandlerFunc{
			func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/other"+r.URL.Path)
				w.WriteHeader(code)
			},
			func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{}`) },
		}}
		_, err := serve(t, s.ServeHTTP).RevsDiff(context.Background(), []IDRevs{{ID: "a", Revs: []string{"1-x"}}})
		require.NoError(t, err)
		require.Equal(t, []string{`POST /db/_revs_diff {"a":["1-x"]}`, `POST /other/db/_revs_diff {"a":["1-x"]}`}, s.asked, code)
	}
}

func TestAnswerElsewhereIsAskedForWithGet(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{
		func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/answer?x=1", http.StatusSeeOther) },
		func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Content-Type") != "" || r.ContentLength > 0 {
				w.WriteHeader(400)
			}
			_, _ = io.WriteString(w, `{}`)
		},
	}}
	_, err := serve(t, s.ServeHTTP).RevsDiff(context.Background(), []IDRevs{{ID: "a", Revs: []string{"1-x"}}})
	require.NoError(t, err)
	require.Equal(t, []string{`POST /db/_revs_diff {"a":["1-x"]}`, `GET /answer?x=1 `}, s.asked)
}

func TestEveryRequestOfARedirectedDatabaseIsRedirected(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		s := &script{steps: []http.HandlerFunc{
			func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", code) },
			status(200, `{"db_name":"other"}`),
		}}
		info, err := serve(t, s.ServeHTTP).Info(context.Background())
		require.NoError(t, err)
		require.Equal(t, "other", info.Name)
	}
}

func TestRedirectsThatLeadNowhereEnd(t *testing.T) {
	for location, reason := range map[string]string{
		"/db":           "redirected more than 10 times",
		"":              "redirected to no address",
		"ftp://h/db":    "redirected to no address",
		"http://h:bad/": "redirected to no address",
	} {
		s := &script{steps: []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(302)
		}}}
		_, err := serve(t, s.ServeHTTP).Info(context.Background())
		require.ErrorContains(t, err, reason)
		require.True(t, hasStatus(err, 302), err)
		require.Equal(t, Permanent, Classify(err), "it is not tried again")
		require.LessOrEqual(t, len(s.asked), maxRedirects+1)
	}
}

func TestNothingIsRedirectedOutOfEncryption(t *testing.T) {
	var leaked atomic.Bool
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Store(true) }))
	t.Cleanup(plain.Close)
	tls := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/db", http.StatusPermanentRedirect)
	}))
	t.Cleanup(tls.Close)
	_, err := openAt(t, tls.URL+"/db", Options{TLS: trust(tls)}).Info(context.Background())
	require.ErrorContains(t, err, "gives up encryption")
	require.False(t, leaked.Load())
}

func TestSecretsAreRedirectedToTheSameServerOnly(t *testing.T) {
	var mu sync.Mutex
	var leaked []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		leaked = append(leaked, fmt.Sprint(r.Header))
		_, _ = io.WriteString(w, `{"db_name":"other"}`)
	}))
	t.Cleanup(other.Close)
	for _, elsewhere := range []string{other.URL, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(elsewhere, "//", "//evil:secret@", 1)+"/db?token=secret", http.StatusTemporaryRedirect)
		}))
		t.Cleanup(server.Close)
		for _, ep := range []Endpoint{
			{URL: server.URL + "/db", Username: "u", Password: "secret"},
			{URL: server.URL + "/db", Token: "secret"},
			{URL: server.URL + "/db", Headers: http.Header{"X-Token": {"secret"}}},
		} {
			db, err := Open(ep, Options{Retries: -1})
			require.NoError(t, err)
			defer db.Close()
			_, err = db.Info(context.Background())
			require.ErrorContains(t, err, "redirected to "+elsewhere)
			require.NotContains(t, err.Error(), "secret")
			require.Equal(t, Permanent, Classify(err))
		}
		require.Empty(t, leaked)

		info, err := openAt(t, server.URL+"/db", Options{}).Info(context.Background())
		require.NoError(t, err, "without secrets there is nothing to keep")
		require.Equal(t, "other", info.Name)
		require.Len(t, leaked, 1)
		require.NotContains(t, leaked[0], "Authorization")
		leaked = nil
	}
}

func TestSecretsFollowToTLSOnTheSameHost(t *testing.T) {
	tls := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, fmt.Sprintf(`{"db_name":%q}`, r.Header.Get("X-Token")))
	}))
	t.Cleanup(tls.Close)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, tls.URL+r.URL.Path, http.StatusMovedPermanently)
	}))
	t.Cleanup(plain.Close)
	db, err := Open(Endpoint{URL: plain.URL + "/db", Headers: http.Header{"X-Token": {"t"}}}, Options{TLS: trust(tls)})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	info, err := db.Info(context.Background())
	require.NoError(t, err)
	require.Equal(t, "t", info.Name)
}
