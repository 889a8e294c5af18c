package reader

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// batches is a sink that keeps what it gets.
type batches struct {
	got []*millracev1.ChangesBatch
	// then is called after each batch; it may be nil.
	then func(*millracev1.ChangesBatch)
}

func (b *batches) opened(context.Context) error { return nil }

func (b *batches) publish(_ context.Context, batch *millracev1.ChangesBatch) error {
	b.got = append(b.got, batch)
	if b.then != nil {
		b.then(batch)
	}
	return nil
}

// ids are those of each batch's rows, joined.
func (b *batches) ids() []string {
	var out []string
	for _, batch := range b.got {
		var ids []string
		for _, r := range batch.Rows {
			ids = append(ids, r.Id)
		}
		out = append(out, strings.Join(ids, " "))
	}
	return out
}

func (b *batches) seqs() []string {
	var out []string
	for _, batch := range b.got {
		out = append(out, string(batch.Seq))
	}
	return out
}

// newPass is a pass over a server that answers _changes as the handler does.
func newPass(t *testing.T, f *millracev1.Feed, changes http.HandlerFunc) (*pass, *batches) {
	t.Helper()
	server := httptest.NewServer(changes)
	t.Cleanup(server.Close)
	db, err := couch.Open(couch.Endpoint{URL: server.URL + "/db"}, couch.Options{Retries: -1, ConnectionTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	since, err := couch.ParseSeq(f.Since)
	if err != nil {
		t.Fatal(err)
	}
	sink := &batches{}
	return &pass{
		db: db, feed: f, sink: sink,
		batcher: &batcher{feed: f.Id, epoch: 7, roster: func() uint64 { return 3 }, known: since, reached: couch.NullSeq()},
	}, sink
}

// row is row i, counted from 1, as CouchDB answers seq_interval and limit: counted from 0, a
// row has a seq where limit - i is a multiple of the interval (DESIGN section 5).
func row(i, limit, interval int) string {
	seq := "null"
	if interval == 0 || (limit-(i-1))%interval == 0 {
		seq = fmt.Sprintf(`"%d-x"`, i)
	}
	return fmt.Sprintf(`{"seq":%s,"id":"d%d","changes":[{"rev":"1-a"}]}`, seq, i)
}

func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.URL.Query().Get(name))
	return n
}

// couchDB answers with rows after since, up to n.
func couchDB(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		first, _, _ := strings.Cut(r.URL.Query().Get("since"), "-")
		from, _ := strconv.Atoi(strings.Trim(first, `"`))
		limit, interval := number(r, "limit"), number(r, "seq_interval")
		var rows []string
		for i := from + 1; i <= n; i++ {
			rows = append(rows, row(i-from, limit, interval))
			rows[len(rows)-1] = strings.NewReplacer(
				fmt.Sprintf(`"d%d"`, i-from), fmt.Sprintf(`"d%d"`, i), fmt.Sprintf(`"%d-x"`, i-from), fmt.Sprintf(`"%d-x"`, i),
			).Replace(rows[len(rows)-1])
		}
		fmt.Fprintf(w, `{"results":[%s],"last_seq":"%d-x","pending":0}`, strings.Join(rows, ",\n"), n)
	}
}

func TestBatchesEndOnTheOneSeqThatIsAskedForPerBatch(t *testing.T) {
	for _, size := range []uint32{1, 2, 3, 7, 500} {
		p, sink := newPass(t, &millracev1.Feed{Id: "f", BatchRows: size}, couchDB(20))
		if err := p.finite(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		last := len(sink.got) - 1
		for i, b := range sink.got {
			if len(b.Seq) == 0 {
				t.Errorf("size %d: batch %d of %d rows has no seq", size, i+1, len(b.Rows))
			}
			if b.Ordinal != uint64(i+1) || b.Epoch != 7 || b.Roster != 3 || b.End != (i == last) {
				t.Errorf("size %d: batch %v", size, b)
			}
			if i < last && len(b.Rows) != int(size) {
				t.Errorf("size %d: batch %d has %d rows", size, i+1, len(b.Rows))
			}
		}
		if sink.got[last].Pending != 0 || string(sink.got[last].KnownSeq) != `"20-x"` {
			t.Errorf("size %d: the end is %v", size, sink.got[last])
		}
	}
}

func TestCutPassGoesOnFromTheNewestSeqOfAPublishedBatch(t *testing.T) {
	var since []string
	whole := couchDB(10)
	p, sink := newPass(t, &millracev1.Feed{Id: "f", BatchRows: 3}, func(w http.ResponseWriter, r *http.Request) {
		since = append(since, r.URL.Query().Get("since"))
		if len(since) > 1 {
			whole(w, r)
			return
		}
		rec := httptest.NewRecorder()
		whole(rec, r)
		rows, _, _ := strings.Cut(rec.Body.String(), `"id":"d6"`)
		io.WriteString(w, rows)               //nolint:errcheck // a test server
		http.NewResponseController(w).Flush() //nolint:errcheck // a test server
		panic(http.ErrAbortHandler)
	})
	if err := p.finite(t.Context(), true); !isCut(err) {
		t.Fatalf("the cut feed gave %v", err)
	}
	if err := p.finite(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if want := []string{"d1 d2 d3", "d4 d5 d6", "d7 d8 d9", "d10"}; !slices.Equal(sink.ids(), want) {
		t.Errorf("rows %q, want %q", sink.ids(), want)
	}
	if len(since) != 2 || strings.Trim(since[1], `"`) != "3-x" {
		t.Errorf("read since %q", since)
	}
}

func TestFilteredPassEndsPastTheRowsThatDidNotMatch(t *testing.T) {
	var asked struct {
		IDs []string `json:"doc_ids"`
	}
	f := &millracev1.Feed{Id: "f", BatchRows: 500, FilterDocIds: true, DocIds: []string{"d2"}}
	p, sink := newPass(t, f, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("seq_interval") || r.URL.Query().Has("limit") {
			t.Errorf("asked %s: a filtered feed has too few rows for it", r.URL.RawQuery)
		}
		json.NewDecoder(r.Body).Decode(&asked) //nolint:errcheck // looked at below
		fmt.Fprintf(w, `{"results":[%s],"last_seq":"900-x","pending":0}`, row(2, 0, 0))
	})
	if err := p.finite(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(asked.IDs, f.DocIds) {
		t.Errorf("asked for %q", asked.IDs)
	}
	if want := []string{`"900-x"`}; !slices.Equal(sink.seqs(), want) {
		t.Errorf("seqs %q, want %q", sink.seqs(), want)
	}
}

func TestIntegerSeqsStayIntegers(t *testing.T) {
	var since []string
	p, sink := newPass(t, &millracev1.Feed{Id: "f", BatchRows: 2, Since: []byte("9007199254740993")}, func(w http.ResponseWriter, r *http.Request) {
		since = append(since, r.URL.Query().Get("since"))
		io.WriteString(w, `{"results":[{"seq":9007199254740995,"id":"a","changes":[{"rev":"1-a"}]}],"last_seq":9007199254740997}`) //nolint:errcheck // a test server
	})
	if err := p.finite(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if since[0] != "9007199254740993" || string(sink.got[0].Seq) != "9007199254740997" {
		t.Errorf("since %q, seq %s", since, sink.got[0].Seq)
	}
}

func TestBatchWithoutASeqNamesTheNewestKnownOne(t *testing.T) {
	p, sink := newPass(t, &millracev1.Feed{Id: "f", BatchRows: 1, Since: []byte(`"4-x"`)}, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"results":[%s,%s],"last_seq":"6-x"}`, row(5, 1, 100), row(6, 0, 0))
	})
	if err := p.finite(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if b := sink.got[0]; len(b.Seq) != 0 || string(b.KnownSeq) != `"4-x"` {
		t.Errorf("seq %q, known %q", b.Seq, b.KnownSeq)
	}
}

func TestQuietFinitePassOfALiveFeedSaysNothing(t *testing.T) {
	p, sink := newPass(t, &millracev1.Feed{Id: "f", BatchRows: 5, Since: []byte(`"20-x"`), Live: true}, couchDB(20))
	if err := p.finite(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if len(sink.got) != 0 {
		t.Errorf("published %v", sink.got)
	}
}

// A row is sent off when nothing else has arrived; what arrives while it is published
// goes together.
func TestLiveFeedBatchesWhatHasArrived(t *testing.T) {
	published, rest := make(chan struct{}, 10), make(chan struct{})
	p, sink := newPass(t, &millracev1.Feed{Id: "f", BatchRows: 3}, func(w http.ResponseWriter, r *http.Request) {
		// The heartbeat is a third of newPass's connection timeout.
		if q := r.URL.Query(); q.Get("feed") != "continuous" || q.Has("seq_interval") || q.Get("heartbeat") != "20000" {
			t.Errorf("asked %s", r.URL.RawQuery)
		}
		flush := http.NewResponseController(w)
		fmt.Fprintln(w, row(1, 0, 0))
		flush.Flush() //nolint:errcheck // the test would notice
		<-published
		fmt.Fprintln(w, strings.Join([]string{row(2, 0, 0), row(3, 0, 0), row(4, 0, 0), row(5, 0, 0)}, "\n"))
		flush.Flush() //nolint:errcheck // the test would notice
		close(rest)
		fmt.Fprintln(w, `{"last_seq":"5-x","pending":0}`)
	})
	sink.then = func(b *millracev1.ChangesBatch) {
		if b.Ordinal == 1 {
			published <- struct{}{}
			<-rest
		}
	}
	if err := p.live(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "d1|d2 d3 d4|d5"; strings.Join(sink.ids(), "|") != want {
		t.Errorf("batches %q, want %q", strings.Join(sink.ids(), "|"), want)
	}
	if want := []string{`"1-x"`, `"4-x"`, `"5-x"`}; !slices.Equal(sink.seqs(), want) {
		t.Errorf("seqs %q, want %q", sink.seqs(), want)
	}
}
