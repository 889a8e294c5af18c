package queryserver_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/millpond"
	"millrace/pkg/queryserver"
	"millrace/pkg/rawdoc"
)

// server is a server to compare with: the CouchDB servers of MILLRACE_TEST_COUCHDB, and a pond
// where there are none. It is spoken to with the standard library.
type server struct {
	t      *testing.T
	db     string // URL
	client *http.Client
}

func eachServer(t *testing.T, test func(s server)) {
	t.Helper()
	list := os.Getenv("MILLRACE_TEST_COUCHDB")
	if list == "" {
		pond := millpond.New(millpond.Options{})
		web := httptest.NewServer(pond)
		t.Cleanup(web.Close)
		t.Cleanup(pond.Close)
		list = web.URL
	}
	for i, base := range strings.Split(list, ",") {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		s := server{t, fmt.Sprintf("%s/queryserver-test-%d-%d", strings.TrimSuffix(base, "/"), os.Getpid(), i), &http.Client{Transport: transport}}
		s.call("PUT", "", nil)
		t.Cleanup(func() { s.call("DELETE", "", nil) })
		test(s)
	}
}

func (s server) call(method, path string, body any) []byte {
	s.t.Helper()
	var sent io.Reader // with a body CouchDB 3.5.0 waits for ever for a filter
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, s.db+path, sent) // the last comes after the test's context
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		s.t.Fatalf("%s %s: %s %s: %v", method, path, resp.Status, answer, err)
	}
	return answer
}

// rows are the leaves that a feed shows, as "id rev".
func (s server) rows(query string) []string {
	s.t.Helper()
	var feed struct {
		Results []struct {
			ID      string
			Changes []struct{ Rev string }
		}
	}
	if err := json.Unmarshal(s.call("GET", "/_changes?"+query, nil), &feed); err != nil {
		s.t.Fatal(err)
	}
	rows := []string{}
	for _, row := range feed.Results {
		for _, c := range row.Changes {
			rows = append(rows, row.ID+" "+c.Rev)
		}
	}
	slices.Sort(rows)
	return rows
}

// bodies reads leaves as replications do, and returns them as functions see them.
func (s server) bodies(rows []string, query string) map[string][]byte {
	s.t.Helper()
	type one struct {
		ID  string `json:"id"`
		Rev string `json:"rev"`
	}
	var ask struct {
		Docs []one `json:"docs"`
	}
	for _, row := range rows {
		at := strings.LastIndexByte(row, ' ')
		ask.Docs = append(ask.Docs, one{row[:at], row[at+1:]})
	}
	var answer struct {
		Results []struct {
			Docs []struct{ OK json.RawMessage }
		}
	}
	if err := json.Unmarshal(s.call("POST", "/_bulk_get?revs=true&"+query, ask), &answer); err != nil {
		s.t.Fatal(err)
	}
	bodies := map[string][]byte{}
	var scanner rawdoc.Scanner
	for i, r := range answer.Results {
		body, err := scanner.ForFunction(r.Docs[0].OK)
		if err != nil {
			s.t.Fatal(err)
		}
		bodies[rows[i]] = body
	}
	return bodies
}

var comparedFilters = map[string]string{
	"owner":    "function(doc, req){ return doc.owner === req.query.owner }",
	"loose":    "function(doc, req){ return doc.n == req.query.n }",
	"number":   "function(doc){ return doc.n > 2 && doc.n < 1e17 }",
	"deleted":  "function(doc){ return doc._deleted }",
	"living":   "function(doc){ return !doc._deleted }",
	"design":   "function(doc){ return doc._id.indexOf('_design/') === 0 }",
	"rev":      "function(doc){ return parseInt(doc._rev.split('-')[1].substr(0, 2), 16) % 2 === doc._revisions.start % 2 }",
	"attached": "function(doc){ for (var name in doc._attachments) { var a = doc._attachments[name]; if (a.stub && !a.encoding && !a.data && !a.follows && a.length > 20) return a } }",
	"text":     "function(doc){ return /[\\u00e0-\\uffff]/.test(doc.text) || (doc.text || '').length > 6 }",
	"tags":     "function(doc, req){ return isArray(doc.tags) && doc.tags.indexOf(req.query.tag) >= 0 }",
	"nested":   "function(doc){ return doc.o && doc.o.a && doc.o.a.b }",
	"hash":     "function(doc){ var s = JSON.stringify(doc), h = 0; for (var i = 0; i < s.length; i++) h = (h * 31 + s.charCodeAt(i)) | 0; return h & 1 }",
	"keys":     "function(doc){ return Object.keys(doc).join().length % 2 }",
	"required": "function(doc){ return require('lib/choose')(doc) }",
	"mutates":  "function(doc, req){ var was = doc.owner; doc.owner = doc._id = null; req.query.owner = 'x'; return was === 'joe' }",
	"user":     "function(doc, req){ return req.userCtx.roles && doc.owner !== 'joe' }",
}

var comparedViews = map[string]any{
	"owned": map[string]string{"map": "function(doc){ if (doc.owner) emit(doc.owner) }"},
	"each":  map[string]string{"map": "function(doc){ if (isArray(doc.tags)) doc.tags.forEach(function(t){ emit(t, doc._id) }) }"},
	"hash":  map[string]string{"map": "function(doc){ if (JSON.stringify(doc).length % 3) emit(sum([1, 2])) }"},
}

// randomDocs are documents with all that a filter can be about, some of them with several leaves.
func randomDocs(r *rand.Rand) (docs []any) {
	pick := func(of ...any) any { return of[r.IntN(len(of))] }
	for i := range 60 {
		id := fmt.Sprintf("doc %d %v", i, pick("", "é", "\U0001F600", "/a+b", `"\`))
		if i%12 == 0 {
			id = fmt.Sprintf("_design/d%d", i)
		}
		for leaf := range 1 + r.IntN(3)*r.IntN(2) {
			doc := map[string]any{"_id": id}
			for name, value := range map[string]any{
				"owner": pick("joe", "ann", "", nil, 5), "n": pick(0, 1, 2.5, 3, 1e16, -7, "3", true, []int{3}, json.RawMessage("12345678901234567890123"), json.RawMessage("1.0")),
				"tags": pick([]any{}, []any{"a"}, []any{"b", "a", 1}, "a", map[string]any{"indexOf": 1}), "text": pick("plain", "naïve", "\u2028 line", "a long text", "\x00", `\u00e9`),
				"o": pick(nil, map[string]any{"a": map[string]any{"b": pick(0, 1, "x")}}, map[string]any{"a": nil}),
			} {
				if r.IntN(4) > 0 {
					doc[name] = value
				}
			}
			if r.IntN(4) == 0 {
				doc["_attachments"] = map[string]any{
					"a/b":   map[string]any{"content_type": "image/png", "data": base64.StdEncoding.EncodeToString(make([]byte, r.IntN(40)))},
					"t.txt": map[string]any{"content_type": "text/plain", "data": base64.StdEncoding.EncodeToString([]byte(strings.Repeat("text ", r.IntN(40))))},
				}
			}
			if r.IntN(5) == 0 {
				doc["_deleted"] = true
				if r.IntN(2) == 0 { // a bare tombstone
					doc = map[string]any{"_id": id, "_deleted": true}
				}
			}
			ids := []string{}
			for g := range 1 + r.IntN(4) {
				ids = append(ids, fmt.Sprintf("%02x%02x%02x%026x", r.IntN(256), leaf, g, i))
			}
			doc["_revisions"] = map[string]any{"start": len(ids), "ids": ids}
			doc["_rev"] = fmt.Sprintf("%d-%s", len(ids), ids[0])
			docs = append(docs, doc)
		}
	}
	return docs
}

// The same documents through a server's _changes with a filter, and through ours over what
// replications read, whichever way they do.
func TestFiltersChooseWhatTheServerChooses(t *testing.T) {
	eachServer(t, func(s server) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		docs := randomDocs(rand.New(rand.NewPCG(seed, 1)))
		s.call("POST", "/_bulk_docs", map[string]any{"new_edits": false, "docs": docs})
		s.call("PUT", "/_design/f", map[string]any{
			"filters": comparedFilters, "views": comparedViews,
			"lib": map[string]string{"choose": "var o = require('./owner'); module.exports = function(doc){ return o.owner(doc) !== 'ann' }", "owner": "exports.owner = function(doc){ return doc.owner }"},
		})
		ddoc := s.call("GET", "/_design/f", nil)
		f := filters(t, queryserver.Options{})
		for _, style := range []string{"all_docs", "main_only"} {
			rows := s.rows("style=" + style)
			for _, read := range []string{"att_encoding_info=true", "attachments=true", "attachments=true&att_encoding_info=true"} {
				bodies := s.bodies(rows, read)
				for _, name := range slices.Sorted(maps.Keys(comparedFilters)) {
					for _, params := range []string{`{"owner":"joe","n":3,"tag":"a"}`, `{"owner":5,"n":"2.5","tag":1}`} {
						s.compare(f, rows, bodies, style, params, queryserver.Function{DesignDoc: ddoc, Name: name})
					}
				}
				for _, name := range slices.Sorted(maps.Keys(comparedViews)) {
					s.compare(f, rows, bodies, style, `{"view":"f/`+name+`"}`, queryserver.Function{DesignDoc: ddoc, Name: name, View: true})
				}
			}
		}
	})
}

func (s server) compare(f *queryserver.Filters, rows []string, bodies map[string][]byte, style, params string, fn queryserver.Function) {
	s.t.Helper()
	name := "f/" + fn.Name
	if fn.View {
		name = "_view"
	}
	query, err := queryserver.Query(name, style, false, []byte(params))
	if err != nil {
		s.t.Fatal(err)
	}
	fn.Request.Query = query
	var given map[string]string
	if err := json.Unmarshal(query, &given); err != nil {
		s.t.Fatal(err)
	}
	values := url.Values{}
	for name, value := range given {
		values.Set(name, value)
	}
	want := s.rows(values.Encode())

	docs := make([][]byte, len(rows))
	for i, row := range rows {
		docs[i] = bodies[row]
	}
	chosen, err := compiled(s.t, f, fn).Match(s.t.Context(), docs...)
	if err != nil {
		s.t.Fatal(err)
	}
	got := []string{}
	for i, row := range rows {
		if chosen[i] {
			got = append(got, row)
		}
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("%s of %s, %s, %s:\n got %q\nwant %q", fn.Name, style, params, s.db[strings.LastIndexByte(s.db, '/'):], got, want)
	}
}
