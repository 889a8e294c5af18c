package mango

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/mango/mangotest"
)

// TestRealCouchDBAgrees puts random selectors to a real CouchDB, as the filter of a
// feed over random documents of every kind (deleted, in conflict, with attachments),
// and compares each leaf. MILLRACE_TEST_RECORD=1 keeps the answers for
// TestRecordedAnswers.
func TestRealCouchDBAgrees(t *testing.T) {
	s := realServer(t)
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := s
			s.t = t
			g := mangotest.New(seed)
			var docs []string
			for i := range 150 {
				docs = append(docs, g.Revision(i))
			}
			db := s.fill(docs, fmt.Sprintf("mango-match-%d", seed))
			answers := recording{Documents: s.leaves(db)}
			for range 250 {
				answers.ask(s, db, g.Selector())
			}
			for range 50 {
				answers.ask(s, db, g.Pinned())
			}
			answers.check(t)
			if seed == 0 {
				answers.keep(t, "testdata/answers.jsonl")
			}
		})
	}
}

// TestRealCouchDBOrdersStrings does the same for strings of many scripts: the server
// says which of them come before some, and which are equal to those.
func TestRealCouchDBOrdersStrings(t *testing.T) {
	s := realServer(t)
	for seed := range uint64(2) {
		texts := mangotest.Strings(seed, 400)
		var docs []string
		for i, text := range texts {
			docs = append(docs, fmt.Sprintf(`{"_id":"%03d","_rev":"1-%032x","s":%s}`, i, i, jsonString(t, text)))
		}
		db := s.fill(docs, fmt.Sprintf("mango-strings-%d", seed))
		answers := recording{Documents: s.leaves(db)}
		for i := 0; i < len(texts); i += 8 {
			answers.ask(s, db, `{"s":{"$lt":`+jsonString(t, texts[i])+`}}`)
			answers.ask(s, db, `{"s":`+jsonString(t, texts[i])+`}`)
		}
		answers.check(t)
		if seed == 0 {
			answers.keep(t, "testdata/strings.jsonl")
		}
	}
}

// TestRealCouchDBMatchesPatterns does the same for regular expressions, those that
// are none included.
func TestRealCouchDBMatchesPatterns(t *testing.T) {
	s := realServer(t)
	var docs []string
	for i, text := range mangotest.Subjects {
		docs = append(docs, fmt.Sprintf(`{"_id":"%03d","_rev":"1-%032x","s":%s}`, i, i, jsonString(t, text)))
	}
	db := s.fill(docs, "mango-patterns")
	for seed := range uint64(6) {
		g := mangotest.New(seed)
		answers := recording{Documents: s.leaves(db)}
		for range 500 {
			answers.ask(s, db, `{"s":{"$regex":`+jsonString(t, g.Pattern())+`}}`)
		}
		answers.check(t)
		if seed == 0 {
			answers.keep(t, "testdata/patterns.jsonl")
		}
	}
}

func jsonString(t *testing.T, s string) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRecordedAnswers compares with what CouchDB 3.5.0 answered, with ICU 72.
func TestRecordedAnswers(t *testing.T) {
	for _, file := range []string{"testdata/answers.jsonl", "testdata/strings.jsonl", "testdata/patterns.jsonl"} {
		var answers recording
		answers.read(t, file)
		if len(answers.Documents) < 40 || len(answers.Answers) < 100 {
			t.Fatalf("%s: %d documents and %d answers", file, len(answers.Documents), len(answers.Answers))
		}
		answers.check(t)
	}
}

// recording is what a server answered about some documents.
type recording struct {
	Documents []json.RawMessage // leaves, as _bulk_get hands them out
	Answers   []answer
}

type answer struct {
	Selector json.RawMessage
	Leaves   []int  `json:",omitempty"` // matched, as indexes into Documents
	Refused  string `json:",omitempty"` // the reason for which it was refused
	Broken   bool   `json:",omitempty"` // the feed broke off
}

func (r *recording) ask(s server, db, selector string) {
	a := answer{Selector: json.RawMessage(selector)}
	status, body := s.call("POST", db+"/_changes?filter=_selector&style=all_docs", `{"selector":`+selector+`}`)
	var feed struct {
		Reason  string
		Results []struct {
			ID      string
			Changes []struct{ Rev string }
		}
	}
	if err := json.Unmarshal(body, &feed); err != nil {
		s.t.Fatalf("%s: %s", selector, body)
	}
	switch status {
	case http.StatusOK:
		for _, row := range feed.Results {
			for _, c := range row.Changes {
				a.Leaves = append(a.Leaves, r.find(s.t, row.ID, c.Rev))
			}
		}
		slices.Sort(a.Leaves)
	case http.StatusBadRequest:
		a.Refused = feed.Reason
	default:
		a.Broken = true
	}
	r.Answers = append(r.Answers, a)
}

func (r *recording) find(t *testing.T, id, rev string) int {
	return slices.IndexFunc(r.Documents, func(doc json.RawMessage) bool {
		var meta struct {
			ID  string `json:"_id"`
			Rev string `json:"_rev"`
		}
		if err := json.Unmarshal(doc, &meta); err != nil {
			t.Fatal(err)
		}
		return meta.ID == id && meta.Rev == rev
	})
}

// check evaluates every selector on every document.
func (r *recording) check(t *testing.T) {
	docs := make([]Document, len(r.Documents))
	for i, body := range r.Documents {
		var err error
		if docs[i], err = Decode(body); err != nil {
			t.Fatalf("Decode(%s): %v", body, err)
		}
	}
	pairs := 0
	for _, a := range r.Answers {
		s, err := Parse(a.Selector)
		if err != nil || a.Refused != "" {
			if refused, ok := err.(*Error); !ok || refused.Reason != a.Refused {
				t.Errorf("%s: %v, CouchDB says %q", a.Selector, err, a.Refused)
			}
			continue
		}
		var got []int
		broken := false
		for i, d := range docs {
			matched, err := s.Match(d)
			broken = broken || err != nil
			if matched {
				got = append(got, i)
			}
			pairs++
		}
		if broken != a.Broken {
			t.Errorf("%s: fails: %v, in CouchDB %v", a.Selector, broken, a.Broken)
		}
		if !a.Broken && !slices.Equal(got, a.Leaves) {
			t.Errorf("%s matches %v, in CouchDB %v", a.Selector, got, a.Leaves)
			for i := range r.Documents {
				if slices.Contains(got, i) != slices.Contains(a.Leaves, i) {
					t.Logf("%d: %s", i, r.Documents[i])
				}
			}
		}
	}
	t.Logf("%d selectors, %d pairs", len(r.Answers), pairs)
}

// keep records the answers if that is asked for, with each document and each answer on
// a line of its own.
func (r *recording) keep(t *testing.T, file string) {
	if os.Getenv("MILLRACE_TEST_RECORD") == "" {
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, doc := range r.Documents {
		if err := enc.Encode(doc); err != nil {
			t.Fatal(err)
		}
	}
	b.WriteString("\n")
	for _, a := range r.Answers {
		if err := enc.Encode(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (r *recording) read(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	documents, answers, _ := bytes.Cut(text, []byte("\n\n"))
	for line := range bytes.Lines(documents) {
		r.Documents = append(r.Documents, line)
	}
	for line := range bytes.Lines(answers) {
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		r.Answers = append(r.Answers, a)
	}
}

// server is a real CouchDB.
type server struct {
	t      *testing.T
	base   string
	client *http.Client
}

// realServer is the first of MILLRACE_TEST_COUCHDB.
func realServer(t *testing.T) server {
	t.Helper()
	first, _, _ := strings.Cut(os.Getenv("MILLRACE_TEST_COUCHDB"), ",")
	if first == "" {
		t.Skip("MILLRACE_TEST_COUCHDB is not set: no CouchDB to compare with")
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return server{t, strings.TrimSuffix(strings.TrimSpace(first), "/"), &http.Client{Transport: transport}}
}

func (s server) call(method, path, body string) (status int, answer []byte) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.base+"/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// fill makes a database of documents.
func (s server) fill(docs []string, db string) string {
	s.t.Helper()
	s.call("DELETE", db, "")
	if status, body := s.call("PUT", db, ""); status != http.StatusCreated {
		s.t.Fatalf("PUT %s: %s", db, body)
	}
	s.t.Cleanup(func() { s.call("DELETE", db, "") })
	status, body := s.call("POST", db+"/_bulk_docs", `{"new_edits":false,"docs":[`+strings.Join(docs, ",")+`]}`)
	if status != http.StatusCreated || strings.Contains(string(body), `"error"`) {
		s.t.Fatalf("_bulk_docs: %s", body)
	}
	return db
}

// leaves reads every leaf of a database the way the pipeline does.
func (s server) leaves(db string) (leaves []json.RawMessage) {
	s.t.Helper()
	_, body := s.call("GET", db+"/_changes?style=all_docs", "")
	var feed struct {
		Results []struct {
			ID      string
			Changes []struct{ Rev string }
		}
	}
	if err := json.Unmarshal(body, &feed); err != nil {
		s.t.Fatalf("%s: %v", body, err)
	}
	type want struct {
		ID  string `json:"id"`
		Rev string `json:"rev"`
	}
	var docs []want
	for _, row := range feed.Results {
		for _, c := range row.Changes {
			docs = append(docs, want{row.ID, c.Rev})
		}
	}
	asked, err := json.Marshal(map[string]any{"docs": docs})
	if err != nil {
		s.t.Fatal(err)
	}
	_, body = s.call("POST", db+"/_bulk_get?revs=true&att_encoding_info=true", string(asked))
	var got struct {
		Results []struct {
			Docs []struct{ OK json.RawMessage }
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		s.t.Fatalf("%s: %v", body, err)
	}
	for _, r := range got.Results {
		leaves = append(leaves, r.Docs[0].OK)
	}
	return leaves
}
