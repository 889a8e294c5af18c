package couch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serve starts a server with the handler and opens its database "db".
func serve(t *testing.T, handler http.HandlerFunc) *DB {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return openAt(t, s.URL+"/db", Options{})
}

// openAt opens a database with retries that do not wait for long.
func openAt(t *testing.T, url string, o Options) *DB {
	t.Helper()
	ep, err := ParseEndpoint(url)
	require.NoError(t, err)
	if o.RetryInterval == 0 {
		o.RetryInterval = time.Millisecond
	}
	db, err := Open(ep, o)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

// answer serves the same body to every request.
func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// cutAfter serves body as chunks and then breaks the connection.
func cutAfter(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func rows(t *testing.T, db *DB, o ChangesOptions) ([]Row, *Changes, error) {
	t.Helper()
	c, err := db.Changes(context.Background(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	var out []Row
	for {
		row, err := c.Next()
		if err != nil {
			return out, c, err
		}
		out = append(out, row)
	}
}

func seq(t *testing.T, raw string) Seq {
	t.Helper()
	var s Seq
	require.NoError(t, s.UnmarshalJSON([]byte(raw)))
	return s
}

const normalFeed = "{\"results\":[\n" +
	`{"seq":"1-g1AA","id":"a","changes":[{"rev":"1-x"},{"rev":"2-y"}]},` + "\n" +
	`{"seq":null,"id":"_design/d","changes":[{"rev":"1-z"}],"deleted":true},` + "\n" +
	`{"seq":3,"id":"é\"\u00e9","changes":[{"rev":"1-q"}],"doc":{"_id":"x","n":1e400}}` + "\n" +
	`],` + "\n" + `"last_seq":"9-g1AB","pending":4}` + "\n"

func TestNormalFeedGivesRowsThenLastSeqAndPending(t *testing.T) {
	got, c, err := rows(t, serve(t, answer(normalFeed)), ChangesOptions{})
	require.Equal(t, io.EOF, err)
	require.Equal(t, []Row{
		{ID: "a", Seq: StringSeq("1-g1AA"), Revs: []string{"1-x", "2-y"}},
		{ID: "_design/d", Seq: NullSeq(), Revs: []string{"1-z"}, Deleted: true},
		{ID: `é"é`, Seq: seq(t, "3"), Revs: []string{"1-q"}, Doc: []byte(`{"_id":"x","n":1e400}`)},
	}, got)
	require.Equal(t, StringSeq("9-g1AB"), c.LastSeq())
	require.Equal(t, int64(4), c.Pending())
}

func TestFeedCutAnywhereGivesWholeRowsAndCutError(t *testing.T) {
	for _, feed := range []Feed{FeedNormal, FeedContinuous} {
		body := normalFeed
		if feed == FeedContinuous {
			body = "\n" + `{"seq":1,"id":"a","changes":[{"rev":"1-x"}]}` + "\n\n" + `{"seq":2,"id":"b","changes":[{"rev":"1-x"}]}` + "\n"
		}
		end := strings.LastIndex(body, "}")
		if feed == FeedContinuous {
			end = len(body)
		}
		for cut := 0; cut <= end; cut += 7 {
			db := serve(t, cutAfter(body[:cut]))
			got, c, err := rows(t, db, ChangesOptions{Feed: feed})
			var cutError *CutError
			require.ErrorAs(t, err, &cutError, "%s cut at %d", feed, cut)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, Transient, Classify(err))
			require.True(t, c.LastSeq().IsNull())
			for _, row := range got {
				require.NotEmpty(t, row.ID)
				require.NotEmpty(t, row.Revs)
			}
			_, again := c.Next()
			require.Equal(t, err, again)
		}
	}
}

func TestCleanEndWithoutLastSeqIsACut(t *testing.T) {
	got, _, err := rows(t, serve(t, answer(`{"seq":1,"id":"a","changes":[{"rev":"1-x"}]}`+"\n")), ChangesOptions{Feed: FeedContinuous})
	require.Len(t, got, 1)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestContinuousFeedReportsHeartbeatsAndEndsWithLastSeq(t *testing.T) {
	db := serve(t, answer("\n\n"+`{"seq":[5,"g1A"],"id":"a","changes":[{"rev":"1-x"}]}`+"\n\r\n"+`{"last_seq":"7-abc","pending":0}`+"\n"))
	beats := 0
	got, c, err := rows(t, db, ChangesOptions{Feed: FeedContinuous, OnHeartbeat: func() { beats++ }})
	require.Equal(t, io.EOF, err)
	require.Equal(t, []Row{{ID: "a", Seq: seq(t, `[5,"g1A"]`), Revs: []string{"1-x"}}}, got)
	require.Equal(t, 3, beats)
	require.Equal(t, StringSeq("7-abc"), c.LastSeq())
	require.Zero(t, c.Pending())
}

func TestFeedPassesRowWithThousandsOfLeaves(t *testing.T) {
	var changes []string
	for i := range 3000 {
		changes = append(changes, fmt.Sprintf(`{"rev":"%d-%032x"}`, i+1, i))
	}
	row := `{"seq":1,"id":"a","changes":[` + strings.Join(changes, ",") + `]}`
	for feed, body := range map[Feed]string{
		FeedNormal:     `{"results":[` + row + `],"last_seq":1}`,
		FeedContinuous: row + "\n" + `{"last_seq":1}` + "\n",
	} {
		got, _, err := rows(t, serve(t, answer(body)), ChangesOptions{Feed: feed})
		require.Equal(t, io.EOF, err)
		require.Len(t, got, 1)
		require.Len(t, got[0].Revs, 3000)
	}
}

func TestErrorWrittenIntoAFeedIsItsCause(t *testing.T) {
	db := serve(t, answer(`{"seq":1,"id":"a","changes":[{"rev":"1-x"}]}`+"\n"+`{"error":"timeout","reason":"The request could not be processed"}`+"\n"))
	got, _, err := rows(t, db, ChangesOptions{Feed: FeedContinuous})
	require.Len(t, got, 1)
	var cause *DocError
	require.ErrorAs(t, err, &cause)
	require.Equal(t, "timeout", cause.Err)
	require.Equal(t, Transient, Classify(err))
}

func TestReadyTellsWhetherNextWouldWait(t *testing.T) {
	for feed, parts := range map[Feed][3]string{
		FeedNormal: {
			`{"results":[{"seq":1,"id":"a","changes":[{"rev":"1-x"}]},` + "\n" + `{"seq":2,"id":"b","changes":[{"rev":"1-x"}]}`, "",
			`],"last_seq":2}`,
		},
		FeedContinuous: {
			`{"seq":1,"id":"a","changes":[{"rev":"1-x"}]}` + "\n" + `{"seq":2,"id":"b","changes":[{"rev":"1-x"}]}` + "\n", "\n",
			`{"last_seq":2}` + "\n",
		},
	} {
		t.Run(string(feed), func(t *testing.T) {
			goOn := make(chan struct{})
			db := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, parts[0])
				_ = http.NewResponseController(w).Flush()
				<-goOn
				_, _ = io.WriteString(w, parts[1]+parts[2])
			})
			c, err := db.Changes(context.Background(), ChangesOptions{Feed: feed})
			require.NoError(t, err)
			defer func() { require.NoError(t, c.Close()) }()
			_, err = c.Next()
			require.NoError(t, err)
			require.True(t, c.Ready())
			_, err = c.Next()
			require.NoError(t, err)
			require.False(t, c.Ready())
			close(goOn)
			_, err = c.Next()
			require.Equal(t, io.EOF, err)
			require.False(t, c.Ready())
		})
	}
}

func TestChangesRequests(t *testing.T) {
	for name, test := range map[string]struct {
		options      ChangesOptions
		method, body string
		query        map[string]string
	}{
		"defaults": {
			method: "GET",
			query:  map[string]string{"feed": "normal", "style": "all_docs", "since": "0", "heartbeat": "10000"},
		},
		"everything": {
			options: ChangesOptions{Feed: FeedContinuous, Style: StyleMainOnly, Since: StringSeq("5-a+b"), Timeout: time.Second, Limit: 3, SeqInterval: 4, IncludeDocs: true},
			method:  "GET",
			query: map[string]string{
				"feed": "continuous", "style": "main_only", "since": "5-a+b", "timeout": "1000",
				"limit": "3", "seq_interval": "4", "include_docs": "true",
			},
		},
		"array seq": {
			options: ChangesOptions{Since: seq(t, `[1,"x"]`), Heartbeat: time.Second},
			method:  "GET",
			query:   map[string]string{"feed": "normal", "style": "all_docs", "since": `[1,"x"]`, "heartbeat": "1000"},
		},
		"doc ids": {
			options: ChangesOptions{DocIDs: []string{"a", `b"`}, Heartbeat: time.Second},
			method:  "POST", body: `{"doc_ids":["a","b\""]}`,
			query: map[string]string{"feed": "normal", "style": "all_docs", "since": "0", "heartbeat": "1000", "filter": "_doc_ids"},
		},
		"no doc ids": {
			options: ChangesOptions{DocIDs: []string{}, Heartbeat: time.Second},
			method:  "POST", body: `{"doc_ids":[]}`,
			query: map[string]string{"feed": "normal", "style": "all_docs", "since": "0", "heartbeat": "1000", "filter": "_doc_ids"},
		},
		"selector": {
			options: ChangesOptions{Selector: []byte(`{"n":0.10}`), Heartbeat: time.Second},
			method:  "POST", body: `{"selector":{"n":0.10}}`,
			query: map[string]string{"feed": "normal", "style": "all_docs", "since": "0", "heartbeat": "1000", "filter": "_selector"},
		},
		"filter with params": {
			options: ChangesOptions{Filter: "d/f", Params: map[string][]string{"k": {"v"}, "since": {"stolen"}}, Heartbeat: time.Second},
			method:  "GET",
			query:   map[string]string{"feed": "normal", "style": "all_docs", "since": "0", "heartbeat": "1000", "filter": "d/f", "k": "v"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got := map[string]string{}
				for k := range r.URL.Query() {
					got[k] = r.URL.Query().Get(k)
				}
				if r.Method != test.method || string(body) != test.body || fmt.Sprint(got) != fmt.Sprint(test.query) {
					w.WriteHeader(http.StatusTeapot)
					_, _ = fmt.Fprintf(w, `{"reason":%q}`, fmt.Sprint(r.Method, string(body), got))
					return
				}
				_, _ = io.WriteString(w, `{"results":[],"last_seq":0}`)
			})
			got, _, err := rows(t, db, test.options)
			require.Equal(t, io.EOF, err)
			require.Empty(t, got)
		})
	}
}

func TestChangesRefusesTwoChoices(t *testing.T) {
	_, err := serve(t, answer("")).Changes(context.Background(), ChangesOptions{DocIDs: []string{"a"}, Filter: "d/f"})
	require.ErrorContains(t, err, "exclude each other")
}

func TestPendingReadsTheCount(t *testing.T) {
	for body, want := range map[string]int64{
		`{"results":[],"last_seq":"5-x","pending":7}`: 7,
		`{"results":[],"last_seq":5}`:                 -1,
	} {
		got, err := serve(t, answer(body)).Pending(context.Background(), StringSeq("5-x"))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestQuietConnectionIsInactive(t *testing.T) {
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"seq":1,"id":"a","changes":[{"rev":"1-x"}]}`+"\n")
		_ = http.NewResponseController(w).Flush()
		<-done
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(done) })
	db := openAt(t, s.URL+"/db", Options{ConnectionTimeout: 200 * time.Millisecond})
	got, _, err := rows(t, db, ChangesOptions{Feed: FeedContinuous})
	require.Len(t, got, 1)
	require.ErrorIs(t, err, ErrInactive)
	require.Equal(t, Transient, Classify(err))
}

func TestClosingAFeedEndsNext(t *testing.T) {
	reading := make(chan struct{})
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		close(reading)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(context.Background())
	c, err := db.Changes(ctx, ChangesOptions{Feed: FeedContinuous})
	require.NoError(t, err)
	<-reading
	cancel()
	_, err = c.Next()
	require.True(t, errors.Is(err, context.Canceled), err)
	require.NoError(t, c.Close())
}
