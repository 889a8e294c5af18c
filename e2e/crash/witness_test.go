package crash

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"millrace/e2e/chaosproxy"
)

// witness stands before a server and remembers what it was asked for: the only
// way to tell that something was not copied again.
type witness struct {
	next http.Handler
	// answering is held by every request; by feeds, which have no end, until they begin to answer.
	answering sync.RWMutex

	mu        sync.Mutex
	databases map[string]*record
	waits     []*wait
}

// record is what a witness knows of one database.
type record struct {
	read        map[leaf]int // revisions asked for, and how often
	written     map[leaf]int // revisions sent in _bulk_docs, and how often
	checkpoints []checkpoint // accepted, oldest first
	sinces      []string     // where readings of its feed began, oldest first
}

// leaf is one revision of a document.
type leaf struct{ id, rev string }

// checkpoint is what matters of a checkpoint document.
type checkpoint struct {
	ID      string
	Session string          `json:"session_id"`
	Seq     json.RawMessage `json:"source_last_seq"`
}

// wait is somebody who wants to know of the nth request of a kind.
type wait struct {
	kind     chaosproxy.Endpoint
	database string
	left     int
	came     chan struct{}
	release  <-chan struct{} // closed when the last and those behind it may be answered; nil for at once
}

func newWitness(next http.Handler) *witness {
	return &witness{next: next, databases: make(map[string]*record)}
}

// ServeHTTP takes note of the request and lets the server answer it.
func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	kind := chaosproxy.Classify(r)
	database, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if held := w.announce(kind, database); held != nil {
		select {
		case <-held:
		case <-r.Context().Done():
			return
		}
	}
	w.answering.RLock()
	answered := sync.OnceFunc(w.answering.RUnlock)
	defer answered()
	if kind == chaosproxy.Changes {
		rw = &beginning{ResponseWriter: rw, begun: answered}
	}
	switch {
	case feedOf(r):
		w.noteSince(database, r.URL.Query().Get("since"))
	case r.Method == http.MethodPost && (kind == chaosproxy.BulkGet || kind == chaosproxy.BulkDocs):
		w.note(kind, database, replay(r))
	case r.Method == http.MethodPut && kind == chaosproxy.Local:
		body := replay(r)
		status := &statusWriter{ResponseWriter: rw}
		w.next.ServeHTTP(status, r)
		if status.code == http.StatusCreated {
			w.noteCheckpoint(database, r.URL.Path, body)
		}
		return
	}
	w.next.ServeHTTP(rw, r)
}

// replay reads the request's body and puts it back.
func replay(r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		// The server must see the cut where the client made it.
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
		return nil
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func (w *witness) note(kind chaosproxy.Endpoint, database string, body []byte) {
	var request struct {
		Docs []struct {
			ID, Rev string
			DocID   string `json:"_id"`
			DocRev  string `json:"_rev"`
		}
	}
	if json.Unmarshal(body, &request) != nil {
		return // what the server refuses is nothing to remember
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.of(database)
	for _, d := range request.Docs {
		if kind == chaosproxy.BulkGet {
			at.read[leaf{d.ID, d.Rev}]++
		} else {
			at.written[leaf{d.DocID, d.DocRev}]++
		}
	}
}

func (w *witness) noteCheckpoint(database, path string, body []byte) {
	c := checkpoint{ID: path[strings.LastIndex(path, "/")+1:]}
	if json.Unmarshal(body, &c) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.of(database)
	at.checkpoints = append(at.checkpoints, c)
}

func (w *witness) noteSince(database, since string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.of(database)
	at.sinces = append(at.sinces, since)
}

// of is the record of a database; the lock is held.
func (w *witness) of(database string) *record {
	at := w.databases[database]
	if at == nil {
		at = &record{read: make(map[leaf]int), written: make(map[leaf]int)}
		w.databases[database] = at
	}
	return at
}

// announce tells who waits that a request came. Where requests are held, the channel's
// closing lets it go on.
func (w *witness) announce(kind chaosproxy.Endpoint, database string) (held <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.waits {
		if one.kind != kind || one.database != database {
			continue
		}
		if one.left == 0 {
			held = cmp.Or(held, one.release)
			continue
		}
		if one.left--; one.left == 0 {
			close(one.came)
			held = cmp.Or(held, one.release)
		}
	}
	return held
}

// between does something while no request is under way, except for feeds that have begun.
func (w *witness) between(do func()) {
	w.answering.Lock()
	defer w.answering.Unlock()
	do()
}

// nth returns a channel that is closed when the nth request of a kind from now on
// arrives, before it is answered.
func (w *witness) nth(kind chaosproxy.Endpoint, database string, n int) <-chan struct{} {
	return w.await(&wait{kind: kind, database: database, left: max(n, 1)})
}

// hold is nth for requests that are not answered before they are released: the nth, and all
// behind it.
func (w *witness) hold(kind chaosproxy.Endpoint, database string, n int) (came <-chan struct{}, release func()) {
	held := make(chan struct{})
	came = w.await(&wait{kind: kind, database: database, left: max(n, 1), release: held})
	return came, sync.OnceFunc(func() { close(held) })
}

func (w *witness) await(one *wait) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	one.came = make(chan struct{})
	w.waits = append(w.waits, one)
	return one.came
}

// reads is how often each revision was asked for until now.
func (w *witness) reads(database string) map[leaf]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.of(database).read)
}

// writes is how often each revision was sent until now.
func (w *witness) writes(database string) map[leaf]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.of(database).written)
}

// checkpointsOf are the checkpoints that were accepted until now, oldest first.
func (w *witness) checkpointsOf(database string) []checkpoint {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]checkpoint(nil), w.of(database).checkpoints...)
}

// sinces is where readings of the feed began until now, oldest first. A seq stands
// there as it does in a query.
func (w *witness) sinces(database string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.of(database).sinces...)
}

// again is how many requests for revisions were repetitions.
func again(counts map[leaf]int) (repeated int) {
	for _, n := range counts {
		repeated += n - 1
	}
	return repeated
}

// statusWriter keeps the answer's status.
type statusWriter struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (s *statusWriter) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the real writer.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// beginning is an answer that tells when it begins.
type beginning struct {
	http.ResponseWriter
	begun func()
}

// WriteHeader implements http.ResponseWriter.
func (b *beginning) WriteHeader(code int) {
	b.begun()
	b.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (b *beginning) Write(p []byte) (int, error) {
	b.begun()
	return b.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController flushes by.
func (b *beginning) FlushError() error {
	b.begun()
	return http.NewResponseController(b.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController reach the real writer.
func (b *beginning) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// String is for a test's log.
func (l leaf) String() string { return fmt.Sprintf("%s %s", l.id, l.rev) }
