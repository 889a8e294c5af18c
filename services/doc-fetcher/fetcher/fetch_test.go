package fetcher

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace/pkg/bodymessage"
	"millrace/pkg/couch"
	"millrace/pkg/millpond"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
)

// fetched is the outcome of fetching one batch.
type fetched struct {
	*shelf
	counters *millracev1.Counters
	rejected []*millracev1.Rejection
	inline   []string // id and rev of what travels in a request of many
	multi    []string // of what travels alone
	stubs    int
	cellar   *cellar
	ordered  []string // what is to be fetched as a part of its own
	lacking  bool     // the source was found to have no _bulk_get
	unmixed  bool     // it was found to answer it with JSON only
}

func open(t *testing.T, url string) *couch.DB {
	t.Helper()
	db, err := couch.Open(couch.Endpoint{URL: url}, couch.Options{Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// tryGet fetches a batch; change may set more of the fetch.
func tryGet(t *testing.T, db *couch.DB, b *millracev1.MissingBatch, change func(*fetch)) (*fetched, error) {
	t.Helper()
	out := &fetched{shelf: &shelf{}, counters: &millracev1.Counters{}}
	p := newPacker(out.shelf, b, "a1")
	f := &fetch{db: db, packer: p, retryDelay: 1, full: b.FullAttachments}
	f.lacksBulkGet, f.lacksMixed = func() { out.lacking = true }, func() { out.unmixed = true }
	out.cellar = &cellar{contents: map[string][]byte{}}
	f.contents = out.cellar
	f.order = func(_ context.Context, w want, part *millracev1.Part) error {
		out.ordered = append(out.ordered, fmt.Sprintf("%s %s as %d", w.id, w.rev, part.Number))
		return nil
	}
	if change != nil {
		change(f)
	}
	if err := f.run(t.Context(), b); err != nil {
		return nil, err
	}
	if err := p.finish(t.Context()); err != nil {
		return nil, err
	}
	for _, part := range out.parts {
		out.rejected = append(out.rejected, part.Rejected...)
		out.counters.DocsRead += part.Counters.DocsRead
		out.counters.BulkGetAttempts += part.Counters.BulkGetAttempts
		out.counters.BulkGetDocs += part.Counters.BulkGetDocs
		for _, ref := range part.Bodies {
			for _, d := range ref.Docs {
				out.inline = append(out.inline, d.Id+" "+d.Rev)
				if d.Stubs {
					out.stubs++
				}
			}
		}
		for _, m := range part.Multiparts {
			out.multi = append(out.multi, m.Doc.Docs[0].Id+" "+m.Doc.Docs[0].Rev)
		}
	}
	slices.Sort(out.inline)
	slices.Sort(out.multi)
	return out, nil
}

func get(t *testing.T, db *couch.DB, b *millracev1.MissingBatch, change func(*fetch)) *fetched {
	t.Helper()
	out, err := tryGet(t, db, b, change)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// missing is a batch of documents, each as "id rev rev...".
func missing(docs ...string) *millracev1.MissingBatch {
	b := &millracev1.MissingBatch{Position: &millracev1.Position{Job: "j"}}
	for _, d := range docs {
		words := strings.Fields(d)
		b.Docs = append(b.Docs, &millracev1.MissingDoc{Id: words[0], Revs: words[1:]})
	}
	return b
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// doc is a revision with its ancestry, newest first, each hash with its generation implied.
func doc(id, members string, hashes ...string) string {
	quoted, err := json.Marshal(hashes)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"_id":%q,"_rev":"%d-%s","_revisions":{"start":%d,"ids":%s}%s}`,
		id, len(hashes), hashes[0], len(hashes), quoted, members)
}

func source(t *testing.T, docs ...string) *databasetest.Database {
	t.Helper()
	d := databasetest.New(t, millpond.Options{})
	d.Write(t, docs...)
	return d
}

const (
	photo = `,"_attachments":{"p.png":{"content_type":"image/png","revpos":1,"data":"iVBORw0KGgo="}}`
	a, b2 = "aaaa", "bbbb"
)

func TestDocumentsAreReadInOneRequestWithTheirHistory(t *testing.T) {
	s := source(t, doc("one", `,"n":1e400`, b2, a), doc("two", `,"n":0.1000`, a))
	got := get(t, s.DB, missing("one 2-bbbb", "two 1-aaaa"), nil)
	expect(t, "documents", got.inline, "one 2-bbbb", "two 1-aaaa")
	docs, err := got.docs()
	if err != nil {
		t.Fatal(err)
	}
	if body := string(docs[revision{"one", "2-bbbb"}]); !strings.Contains(body, "1e400") || !strings.Contains(body, `"ids":["bbbb","aaaa"]`) {
		t.Errorf("got %s", body)
	}
	if n := s.Server.Requests(); n.Of("POST", "_bulk_get") != 1 || n.Of("GET", "doc") != 0 {
		t.Errorf("requests %v", n)
	}
	if c := got.counters; c.DocsRead != 2 || c.BulkGetAttempts != 2 || c.BulkGetDocs != 2 {
		t.Errorf("counted %v", c)
	}
}

func TestConflictingLeavesAndAnAncestorComeOnceEach(t *testing.T) {
	s := source(t, doc("d", "", "left", a), doc("d", "", "right", a))
	expect(t, "two leaves", get(t, s.DB, missing("d 2-left 2-right"), nil).inline, "d 2-left", "d 2-right")
	expect(t, "their ancestor", get(t, s.DB, missing("d 1-aaaa"), nil).inline, "d 2-left", "d 2-right")
	expect(t, "an ancestor and a leaf", get(t, s.DB, missing("d 1-aaaa 2-left"), nil).inline, "d 2-left", "d 2-right")
}

func TestNewerLeafComesInPlaceOfWhatWasListed(t *testing.T) {
	s := source(t, doc("d", "", "cccc", b2, a), doc("gone", `,"_deleted":true`, b2, a))
	got := get(t, s.DB, missing("d 1-aaaa", "gone 1-aaaa"), nil)
	expect(t, "documents", got.inline, "d 3-cccc", "gone 2-bbbb")
	if len(got.rejected) != 0 {
		t.Errorf("rejected %v", got.rejected)
	}
}

func TestSmallBinaryAttachmentsTravelInsideTheirDocuments(t *testing.T) {
	s := source(t, doc("d", photo, a), doc("plain", "", a))
	got := get(t, s.DB, missing("d 1-aaaa", "plain 1-aaaa"), nil)
	expect(t, "inside", got.inline, "d 1-aaaa", "plain 1-aaaa")
	expect(t, "alone", got.multi)
	docs, err := got.docs()
	if err != nil {
		t.Fatal(err)
	}
	if body := string(docs[revision{"d", "1-aaaa"}]); !strings.Contains(body, `"data":"iVBORw0KGgo="`) {
		t.Errorf("got %s", body)
	}
}

func TestWhatTravelsInsideIsSmallAndStoredAsItIs(t *testing.T) {
	att := func(encoding string, length int64) rawdoc.Attachment {
		return rawdoc.Attachment{Name: "x", Encoding: encoding, Length: length}
	}
	for name, c := range map[string]struct {
		atts []rawdoc.Attachment
		want bool
	}{
		"small":               {[]rawdoc.Attachment{att("", 10)}, true},
		"identity":            {[]rawdoc.Attachment{att("identity", 10)}, true},
		"just small enough":   {[]rawdoc.Attachment{att("", inlineLimit)}, true},
		"too large":           {[]rawdoc.Attachment{att("", inlineLimit+1)}, false},
		"too large together":  {[]rawdoc.Attachment{att("", inlineLimit/2+1), att("", inlineLimit/2+1)}, false},
		"gzipped":             {[]rawdoc.Attachment{att("gzip", 10)}, false},
		"one of them gzipped": {[]rawdoc.Attachment{att("", 10), att("gzip", 10)}, false},
	} {
		if _, ok := inlineable(c.atts); ok != c.want {
			t.Errorf("%s: %t", name, ok)
		}
	}
}

func TestLargeAttachmentTravelsAloneInChunks(t *testing.T) {
	s := databasetest.New(t, millpond.Options{})
	content := strings.Repeat("0123456789abcdef", (3*bodymessage.Full+100)/16)
	s.PutAttachment(t, "d", "big.bin", content)
	var rev string
	for _, revs := range s.Leaves(t) {
		rev = revs[0]
	}
	got := get(t, s.DB, missing("d "+rev), nil)
	expect(t, "alone", got.multi, "d "+rev)
	m := got.parts[0].Multiparts[0]
	if len(m.Attachments) != 1 || len(m.Attachments[0].Chunks) != 4 || m.Attachments[0].Length != uint64(len(content)) {
		t.Fatalf("attachments %v", m.Attachments)
	}
	var all strings.Builder
	for _, c := range m.Attachments[0].Chunks {
		chunk, err := got.read(got.parts[0], c)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(chunk)
	}
	if all.String() != content {
		t.Error("the chunks are not the attachment")
	}
}

func TestAttachmentsThatTheTargetHasAreLeftOutUnlessAllAreWanted(t *testing.T) {
	s := source(t, doc("d", photo, a))
	s.Write(t, doc("d", `,"n":2,"_attachments":{"p.png":{"stub":true,"content_type":"image/png","revpos":1}}`, b2, a))
	b := missing("d 2-bbbb")
	b.Docs[0].PossibleAncestors = []string{"1-aaaa"}
	if got := get(t, s.DB, b, nil); got.stubs != 1 {
		t.Errorf("%d documents with stubs", got.stubs)
	}
	b.FullAttachments = true
	got := get(t, s.DB, b, nil)
	docs, err := got.docs()
	if err != nil {
		t.Fatal(err)
	}
	if got.stubs != 0 || !strings.Contains(string(docs[revision{"d", "2-bbbb"}]), "iVBORw0KGgo=") {
		t.Errorf("%d documents with stubs: %s", got.stubs, docs)
	}
}

func TestRevisionThatIsFoundAtTheSecondLookIsNotMissing(t *testing.T) {
	s := source(t, doc("d", "", a))
	s.Server.Inject(millpond.Fault{
		Match: millpond.Matching("", "/_bulk_get"), Times: 1, Status: 200,
		Body: `{"results":[{"id":"d","docs":[{"error":{"id":"d","rev":"1-aaaa","error":"not_found","reason":"missing"}}]}]}`,
	})
	got := get(t, s.DB, missing("d 1-aaaa"), nil)
	expect(t, "documents", got.inline, "d 1-aaaa")
	if len(got.rejected) != 0 {
		t.Errorf("rejected %v", got.rejected)
	}
}

func TestRevisionThatVanishedIsRecordedAndTheOthersGoOn(t *testing.T) {
	s := source(t, doc("d", "", a))
	got := get(t, s.DB, missing("d 1-aaaa", "purged 3-cccc"), nil)
	expect(t, "documents", got.inline, "d 1-aaaa")
	if len(got.rejected) != 1 {
		t.Fatalf("rejected %v", got.rejected)
	}
	if r := got.rejected[0]; r.Id != "purged" || r.Rev != "3-cccc" || r.Error != "not_found" || r.Status != http.StatusNotFound || r.Stage != Name || r.Position.Job != "j" {
		t.Errorf("recorded %v", r)
	}
	if n := s.Server.Requests().Of("POST", "_bulk_get"); n != 1+missingRetries {
		t.Errorf("asked %d times", n)
	}
}

// Of a database that was made again every revision has vanished: a wait for each would
// take an hour.
func TestRevisionsThatVanishedAreWaitedForTogether(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/db"), "/")
		if id == "" {
			io.WriteString(w, `{"db_name":"db"}`) //nolint:errcheck // a test server
			return
		}
		mu.Lock()
		asked = append(asked, id)
		mu.Unlock()
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":"not_found","reason":"missing"}`) //nolint:errcheck // a test server
	}))
	t.Cleanup(front.Close)
	got := get(t, open(t, front.URL+"/db"), missing("a 1-aaaa", "b 1-aaaa", "c 1-aaaa"), func(f *fetch) { f.singly = true })
	for round := range slices.Chunk(asked, 3) {
		slices.Sort(round)
	}
	expect(t, "requests", asked, "a", "b", "c", "a", "b", "c", "a", "b", "c")
	if len(got.rejected) != 3 {
		t.Errorf("rejected %v", got.rejected)
	}
}

// Its revisions come again with it: they have not vanished (invariant 1).
func TestSourceThatIsDeletedIsNoSourceWhoseRevisionsVanished(t *testing.T) {
	for name, singly := range map[string]bool{"in one request": false, "one by one": true} {
		s := source(t, doc("d", photo, a))
		if err := s.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := tryGet(t, s.DB, missing("d 1-aaaa"), func(f *fetch) {
			f.singly = singly
			f.lacksBulkGet = func() { t.Errorf("%s: it is the database that is not there", name) }
		})
		if !couch.IsNotFound(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSourceWithoutBulkGetIsAskedOneByOne(t *testing.T) {
	for status, lacking := range map[int]bool{
		http.StatusNotFound: true, http.StatusMethodNotAllowed: true, http.StatusNotImplemented: true,
		// CouchDB's replicator falls back on these, too; they do not say that there is none.
		http.StatusTeapot: false, http.StatusBadRequest: false, http.StatusInternalServerError: false,
	} {
		s := source(t, doc("d", "", a), doc("e", photo, a))
		s.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_get"), Status: status, Body: `{"error":"x"}`})
		got := get(t, open(t, s.URL), missing("d 1-aaaa", "e 1-aaaa"), nil)
		all := append(got.inline, got.multi...)
		slices.Sort(all)
		expect(t, fmt.Sprint(status), all, "d 1-aaaa", "e 1-aaaa")
		if got.lacking != lacking {
			t.Errorf("after a %d the source is remembered as one without _bulk_get: %v", status, got.lacking)
		}
	}
}

func TestSourceThatFailsAtAttachmentsInBulkIsAskedOneByOne(t *testing.T) {
	s := source(t, doc("d", photo, a))
	s.Server.Inject(millpond.Fault{
		Match: func(r *http.Request) bool {
			return r.URL.Query().Get("attachments") == "true" && r.Method == http.MethodPost
		},
		Status: http.StatusInternalServerError, Body: `{"error":"x"}`,
	})
	got := get(t, open(t, s.URL), missing("d 1-aaaa"), nil)
	expect(t, "documents", append(got.inline, got.multi...), "d 1-aaaa")
}

// It answers once, and then not any more: what it answered about must not be forgotten.
func TestSourceThatLosesBulkGetOnTheWayLosesNothing(t *testing.T) {
	s := source(t, doc("d", photo, a), doc("e", "", a))
	s.Server.Inject(millpond.Fault{
		Match:  millpond.After(1, millpond.Matching("", "/_bulk_get")),
		Status: http.StatusMethodNotAllowed, Body: `{"error":"method_not_allowed"}`, Times: 1,
	})
	got := get(t, s.DB, missing("d 1-aaaa", "e 1-aaaa", "nobody 1-aaaa"), nil)
	all := append(got.inline, got.multi...)
	slices.Sort(all)
	expect(t, "documents", all, "d 1-aaaa", "e 1-aaaa")
}

func TestSinglyAsksForNothingInBulk(t *testing.T) {
	s := source(t, doc("d", "", a), doc("e", photo, a), doc("f", "", "left", a), doc("f", "", "right", a))
	got := get(t, s.DB, missing("d 1-aaaa", "e 1-aaaa", "f 2-left 2-right"), func(f *fetch) { f.singly = true })
	all := append(got.inline, got.multi...)
	slices.Sort(all)
	expect(t, "documents", all, "d 1-aaaa", "e 1-aaaa", "f 2-left", "f 2-right")
	if n := s.Server.Requests().Of("POST", "_bulk_get"); n != 0 {
		t.Errorf("%d requests in bulk", n)
	}
	if c := got.counters; c.BulkGetAttempts != 0 || c.DocsRead != 4 {
		t.Errorf("counted %v", c)
	}
}

func TestCutAnswerIsFollowedByRequestsForOneDocumentEach(t *testing.T) {
	var docs []string
	for i := range 20 {
		docs = append(docs, doc(fmt.Sprintf("d%02d", i), `,"x":"`+strings.Repeat("x", 200)+`"`, a))
	}
	s := source(t, docs...)
	s.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_get"), CutBodyAfter: 2000})
	var wants []string
	for i := range 20 {
		wants = append(wants, fmt.Sprintf("d%02d 1-aaaa", i))
	}
	got := get(t, s.DB, missing(wants...), nil)
	slices.Sort(got.inline)
	expect(t, "documents", slices.Compact(got.inline), wants...)
	if n := s.Server.Requests().Of("POST", "_bulk_get"); n != 1 {
		t.Errorf("asked %d times in bulk", n)
	}
}

func TestNonsenseInsteadOfAnAnswerIsFollowedByRequestsForOneDocumentEach(t *testing.T) {
	s := source(t, doc("d", "", a), doc("e", "", a))
	for _, body := range []string{`<html>`, `{"results":[1]}`, `{"results":[{"id":"d","docs":[{"ok":5}]}]}`, ``, `{}`} {
		remove := s.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_get"), Status: 200, Body: body})
		got := get(t, s.DB, missing("d 1-aaaa", "e 1-aaaa"), nil)
		expect(t, "documents after "+body, got.inline, "d 1-aaaa", "e 1-aaaa")
		remove()
	}
}

// A server that says nothing about what it was asked has not said that it is done.
func TestWhatTheAnswerLeavesOutIsAskedForAgain(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/_bulk_get") {
			http.Error(w, "{}", http.StatusTeapot)
			return
		}
		var q struct{ Docs []struct{ ID, Rev string } }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		asked++
		d := q.Docs[0] // about the first alone, whatever it was asked
		fmt.Fprintf(w, `{"results":[{"id":%[1]q,"docs":[{"ok":{"_id":%[1]q,"_rev":%[2]q}}]}]}`, d.ID, d.Rev)
	}))
	t.Cleanup(server.Close)
	got := get(t, open(t, server.URL+"/db"), missing("d 1-aaaa", "e 1-aaaa", "f 1-aaaa"), nil)
	expect(t, "documents", got.inline, "d 1-aaaa", "e 1-aaaa", "f 1-aaaa")
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
}

func TestServerThatAnswersNonsenseToEverythingRejectsNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		one := `{"id":"d","docs":[{"ok":{"_id":"d","_rev":"1-aaaa"}}]}`
		io.WriteString(w, `{"results":[`+one+","+one+`]}`) //nolint:errcheck // a test server
	}))
	t.Cleanup(server.Close)
	if got, err := tryGet(t, open(t, server.URL+"/db"), missing("d 1-aaaa"), nil); err == nil {
		t.Errorf("fetched %v", got)
	}
}
