package couch

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// script answers requests one after another and remembers what was asked.
type script struct {
	mu    sync.Mutex
	steps []http.HandlerFunc
	asked []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	step := s.steps[0]
	if len(s.steps) > 1 {
		s.steps = s.steps[1:]
	}
	s.mu.Unlock()
	step(w, r)
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func broken(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestTransientAnswersAreRetried(t *testing.T) {
	for name, step := range map[string]http.HandlerFunc{
		"408": status(408, ""), "500": status(500, `{"error":"x"}`), "503": status(503, "<html>"), "broken": broken,
		"cut": cutAfter(`{"db_name":`), "429": status(429, ""),
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{steps: []http.HandlerFunc{step, step, status(200, `{"db_name":"db","update_seq":"5-x"}`)}}
			info, err := serve(t, s.ServeHTTP).Info(context.Background())
			require.NoError(t, err)
			require.Equal(t, StringSeq("5-x"), info.UpdateSeq)
			require.Len(t, s.asked, 3)
		})
	}
}

func TestRetriesAreCountedBut429AreNot(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{status(500, ""), status(429, ""), status(429, ""), status(500, ""), status(429, ""), status(502, `{"error":"bad","reason":"gateway"}`)}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	_, err := openAt(t, server.URL+"/db", Options{Retries: 2}).Info(context.Background())
	require.EqualError(t, err, "GET "+server.URL+"/db: 502 bad: gateway")
	require.Equal(t, Transient, Classify(err))
	require.Len(t, s.asked, 6)
}

func TestRetryAfterIsObeyed(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
	}}}
	_, err := serve(t, s.ServeHTTP).Info(context.Background())
	var e *HTTPError
	require.ErrorAs(t, err, &e)
	require.Equal(t, time.Hour, e.RetryAfter)
	require.Len(t, s.asked, 1, "longer than a request may wait: the caller is told at once")
}

func TestPermanentAnswersAreNotRetried(t *testing.T) {
	for code, is := range map[int]func(error) bool{404: IsNotFound, 403: IsForbidden, 401: IsUnauthorized, 409: IsConflict, 413: IsTooLarge} {
		s := &script{steps: []http.HandlerFunc{status(code, `{"error":"e","reason":{"not":"text"}}`)}}
		_, err := serve(t, s.ServeHTTP).Info(context.Background())
		require.True(t, is(err), err)
		require.Equal(t, Permanent, Classify(err))
		require.Contains(t, err.Error(), `{"not":"text"}`)
		require.Len(t, s.asked, 1)
	}
}

func TestWhatTheServerDoesNotHaveIsNotAskedForAgain(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{status(501, `{"error":"not_implemented","reason":"x"}`)}}
	_, err := serve(t, s.ServeHTTP).BulkGet(context.Background(), []BulkGetRequest{{ID: "a"}}, BulkGetOptions{})
	require.Equal(t, Permanent, Classify(err))
	require.Len(t, s.asked, 1)
}

// What a read returns is what net/http writes to the socket: a document is not worth a write.
func TestBodyFillsEachReadFromManyParts(t *testing.T) {
	b := bytesBody([]byte("ab"), nil, []byte("c"), []byte("defg"))
	require.EqualValues(t, 7, b.length)
	for range 2 { // a request may be sent again
		r, err := b.open()
		require.NoError(t, err)
		buf := make([]byte, 5)
		n, err := r.Read(buf)
		require.NoError(t, err)
		require.Equal(t, "abcde", string(buf[:n]))
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "fg", string(rest))
		require.NoError(t, r.Close())
	}
}

func TestNegativeRetriesMeansNone(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{status(500, "")}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	_, err := openAt(t, server.URL+"/db", Options{Retries: -1}).Info(context.Background())
	require.Error(t, err)
	require.Len(t, s.asked, 1)
}

func TestCancelEndsTheWaitForARetry(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500)
		cancel()
	}))
	t.Cleanup(server.Close)
	_, err := openAt(t, server.URL+"/db", Options{RetryInterval: time.Hour}).Info(ctx)
	require.Error(t, err)
}

func TestErrorsShowNeitherQueryNorCredentials(t *testing.T) {
	ep, err := ParseEndpoint("http://user:secret@127.0.0.1:1/db")
	require.NoError(t, err)
	db, err := Open(ep, Options{Retries: -1})
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Get(context.Background(), "x", url.Values{"token": {"secret"}})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
	require.Equal(t, Transient, Classify(err))
	require.NotContains(t, fmt.Sprintf("%v %s", db, db), "secret")
}

func TestHeadersAndUserAgentAreSentAndPasswordIsDecoded(t *testing.T) {
	var got http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		_, _ = io.WriteString(w, `{}`)
	}))
	t.Cleanup(s.Close)
	db, err := Open(Endpoint{URL: s.URL + "/db", Headers: http.Header{"x-a": {"1"}, "Accept": {"text/html"}, "Authorization": {"Bearer t"}}}, Options{
		UserAgent: "Millrace/1",
		Transport: func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				r = r.Clone(r.Context())
				r.Header.Set("X-Trace", "t")
				return next.RoundTrip(r)
			})
		},
	})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	_, err = db.Info(context.Background())
	require.NoError(t, err)
	require.Equal(t, "Millrace/1", got.Get("User-Agent"))
	require.Equal(t, "1", got.Get("X-A"))
	require.Equal(t, "t", got.Get("X-Trace"))
	require.Equal(t, "Bearer t", got.Get("Authorization"))
	require.Equal(t, "application/json", got.Get("Accept"))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestSilentServerIsInactiveAndRetried(t *testing.T) {
	release := make(chan struct{})
	s := &script{steps: []http.HandlerFunc{func(http.ResponseWriter, *http.Request) { <-release }, status(200, `{"db_name":"db"}`)}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	info, err := openAt(t, server.URL+"/db", Options{ConnectionTimeout: 50 * time.Millisecond}).Info(context.Background())
	require.NoError(t, err)
	require.Equal(t, "db", info.Name)
}

func TestGzippedAnswersAreUndone(t *testing.T) {
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, normalFeed)
		_ = z.Close()
	})
	got, _, err := rows(t, db, ChangesOptions{})
	require.Equal(t, io.EOF, err)
	require.Len(t, got, 3)
}

func TestBodyThatBreaksTheConnectionIsAnnounced(t *testing.T) {
	var expected []string
	s := &script{steps: []http.HandlerFunc{broken, func(w http.ResponseWriter, r *http.Request) {
		expected = append(expected, r.Header.Get("Expect"))
		status(413, `{"error":"too_large","reason":"the request entity is too large"}`)(w, r)
	}}}
	_, err := serve(t, s.ServeHTTP).BulkDocs(context.Background(), [][]byte{[]byte(`{"_id":"a"}`)}, BulkDocsOptions{})
	require.True(t, IsTooLarge(err), err)
	require.Equal(t, []string{"100-continue"}, expected)
	require.Equal(t, PerDocument, Classify(err))
}

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		status    int
		reason    string
		documents written
		want      Class
	}{
		{status: 400, want: Permanent},
		{status: 400, documents: writesDocuments, want: PerDocument},
		{status: 412, documents: writesDocuments, want: PerDocument},
		{status: 413, documents: writesDocuments, want: PerDocument},
		{status: 403, documents: writesDocuments, want: Permanent},
		{status: 404, documents: writesDocuments, want: Permanent},
		{status: 401, documents: writesDocument, reason: "only authors", want: PerDocument},
		{status: 401, documents: writesDocument, reason: "You are not authorized to access this db.", want: Permanent},
		{status: 401, documents: writesDocument, reason: "Name or password is incorrect.", want: Permanent},
		{status: 403, documents: writesDocument, reason: "forbidden by validation", want: PerDocument},
		{status: 403, documents: writesDocument, reason: "You are not allowed to access this db.", want: Permanent},
		{status: 413, documents: writesDocument, want: PerDocument},
		{status: 415, documents: writesDocument, want: PerDocument},
		{status: 412, documents: writesDocument, want: PerDocument},
		{status: 404, documents: writesDocument, want: Permanent},
		{status: 409, documents: writesDocument, want: Permanent},
		{status: 500, documents: writesDocuments, want: Transient},
		{status: 501, want: Permanent},
		{status: 429, documents: writesDocument, want: Transient},
		{status: 408, want: Transient},
	} {
		err := fmt.Errorf("wrapped: %w", &HTTPError{Status: test.status, Reason: test.reason, documents: test.documents})
		require.Equal(t, test.want, Classify(err), "%+v", test)
	}
	for _, test := range []struct {
		word      string
		crashed   bool
		documents written
		want      Class
	}{
		{word: "TypeError", documents: writesDocument, want: PerDocument},
		{word: "unknown_error", documents: writesDocument, want: PerDocument},
		{word: "compilation_error", documents: writesDocument, want: PerDocument},
		{word: "unknown_error", crashed: true, documents: writesDocument, want: Transient},
		{word: "internal_server_error", documents: writesDocument, want: Transient},
		{word: "Internal Server Error", documents: writesDocument, want: Transient},
		{word: "timeout", documents: writesDocument, want: Transient},
		{word: "unknown_error", documents: writesDocuments, want: Transient},
		{word: "TypeError", want: Transient},
	} {
		err := &HTTPError{Status: 500, Err: test.word, crashed: test.crashed, documents: test.documents}
		require.Equal(t, test.want, Classify(err), "%+v", test)
	}
	require.Equal(t, PerDocument, Classify(DocResult{Err: "forbidden"}.Failure()))
	require.Equal(t, Transient, Classify(DocResult{Err: "internal_server_error"}.Failure()))
	require.NoError(t, DocResult{}.Failure())
	require.Equal(t, Transient, Classify(&CutError{Err: &DocError{Err: "forbidden"}}), "a broken feed blames no document")
	require.Equal(t, PerDocument, Classify(fmt.Errorf("%w: x", ErrAttachments)))
	require.Equal(t, Permanent, Classify(fmt.Errorf("%w: x", ErrBadEndpoint)))
	require.Equal(t, Transient, Classify(&RequestError{Err: context.Canceled}))
}

func TestBasicCredentialsAreUTF8(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_session" {
			w.WriteHeader(404)
			return
		}
		got = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{}`)
	}))
	t.Cleanup(s.Close)
	db := openAt(t, strings.Replace(s.URL, "http://", "http://%C3%BC:p%3A%40@", 1)+"/db", Options{})
	_, err := db.Info(context.Background())
	require.NoError(t, err)
	require.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("ü:p:@")), got)
}

func TestStartTimeIsTextWhateverTheServerSends(t *testing.T) {
	for raw, want := range map[string]string{`"1700000000"`: "1700000000", `1700000000123`: "1700000000123", `"0"`: "0"} {
		db := serve(t, status(201, `{"ok":true,"instance_start_time":`+raw+`}`))
		info, err := db.Info(context.Background())
		require.NoError(t, err)
		require.Equal(t, want, info.InstanceStartTime)
		committed, err := db.EnsureFullCommit(context.Background())
		require.NoError(t, err)
		require.Equal(t, want, committed)
	}
}
