package compare_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
)

func TestMain(m *testing.M) { peer.Main(m) }

const seed = 3

// canned is a database with one document, "d", of given leaves.
type canned struct {
	changes string // the row of _changes; default: the one that fits the leaves
	leaves  string // between the brackets of the answer to open_revs
}

// serve answers for databases by name.
func serve(t *testing.T, dbs map[string]canned) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, rest, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
		db, there := dbs[name]
		switch {
		case !there:
			http.NotFound(w, r)
		case rest == "_changes" && db.changes != "":
			fmt.Fprint(w, db.changes)
		case rest == "_changes":
			fmt.Fprintf(w, `{"results":[%s],"last_seq":"1-x","pending":0}`, `{"id":"d","changes":[{"rev":"2-b"}]}`)
		default:
			fmt.Fprintf(w, "[%s]", db.leaves)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// leaf is an answer of open_revs: revision 2-b of document d with these members.
func leaf(members string) string {
	return `{"ok":{"_id":"d","_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]}` + members + `}}`
}

// attached is a leaf with one attachment with these fields beside the ordinary.
func attached(fields string) string {
	return leaf(`,"_attachments":{"f":{"content_type":"text/plain","revpos":1` + fields + `}}`)
}

func databases(t *testing.T, a, b string, o compare.Options) compare.Report {
	t.Helper()
	report, err := compare.Databases(t.Context(), a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestDifferencesAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		a, b  string // leaves
		want  string // What of the difference; "": none
		loose compare.Options
		// wantLoose is What with the loose options.
		wantLoose string
	}{
		"same":              {a: leaf(`,"v":1`), b: leaf(`,"v":1`)},
		"value":             {a: leaf(`,"v":1`), b: leaf(`,"v":2`), want: "body.v", wantLoose: "body.v"},
		"kind":              {a: leaf(`,"v":1`), b: leaf(`,"v":"1"`), want: "body.v", wantLoose: "body.v"},
		"nested":            {a: leaf(`,"v":[0,{"w":true}]`), b: leaf(`,"v":[0,{"w":false}]`), want: "body.v[1].w", wantLoose: "body.v[1].w"},
		"shorter array":     {a: leaf(`,"v":[0,1]`), b: leaf(`,"v":[0]`), want: "body.v", wantLoose: "body.v"},
		"missing member":    {a: leaf(`,"v":1,"w":2`), b: leaf(`,"v":1`), want: "body", wantLoose: "body"},
		"spelling":          {a: leaf(`,"v" : "é\u0000\/"`), b: leaf(`,"v":"\u00e9\u0000/"`)},
		"composition":       {a: leaf(`,"v":"\u00e9"`), b: leaf(`,"v":"e\u0301"`), want: "body.v", wantLoose: "body.v"},
		"surrogates":        {a: leaf(`,"v":"\ud83d"`), b: leaf(`,"v":"\ude00"`), want: "body.v", wantLoose: "body.v"},
		"surrogate pair":    {a: leaf(`,"v":"\ud83d\ude00"`), b: leaf(`,"v":"😀"`)},
		"number's spelling": {a: leaf(`,"v":0.1000`), b: leaf(`,"v":0.1`), want: "body.v", loose: compare.Options{Numbers: compare.Value}},
		"exponent":          {a: leaf(`,"v":1E+2`), b: leaf(`,"v":100.0`), want: "body.v", loose: compare.Options{Numbers: compare.Value}},
		"negative zero":     {a: leaf(`,"v":-0`), b: leaf(`,"v":0`), want: "body.v", loose: compare.Options{Numbers: compare.Value}},
		"rounded integer": {a: leaf(`,"v":9223372036854775807`), b: leaf(`,"v":9223372036854775808`), want: "body.v",
			loose: compare.Options{Numbers: compare.Value}, wantLoose: "body.v"},
		"rounded by JavaScript": {a: leaf(`,"v":9223372036854775807`), b: leaf(`,"v":9223372036854776000`), want: "body.v",
			loose: compare.Options{Numbers: compare.Float64}},
		"infinity": {a: leaf(`,"v":1e400`), b: leaf(`,"v":1e401`), want: "body.v",
			loose: compare.Options{Numbers: compare.Float64}, wantLoose: "body.v"},
		"key order": {a: leaf(`,"v":1,"w":{"x":1,"y":2}`), b: leaf(`,"w":{"y":2,"x":1},"v":1`), want: "body(key 0)",
			loose: compare.Options{AnyKeyOrder: true}},
		"duplicate keys": {a: leaf(`,"v":1,"v":2`), b: leaf(`,"v":2`), want: "body.v",
			loose: compare.Options{AnyKeyOrder: true}, wantLoose: "body.v"},
		"empty key": {a: leaf(`,"":1`), b: leaf(``), want: "body", wantLoose: "body"},
		"deleted":   {a: leaf(`,"_deleted":true`), b: leaf(``), want: "_deleted", wantLoose: "_deleted"},
		"history": {a: leaf(``), b: strings.Replace(leaf(``), `,"a"`, "", 1),
			want: "history", loose: compare.Options{Forgotten: true}},
		"another history": {a: leaf(``), b: strings.Replace(leaf(``), `,"a"`, `,"z"`, 1),
			want: "history", loose: compare.Options{Forgotten: true}, wantLoose: "history"},
		"another leaf": {a: leaf(``), b: leaf(``) + "," + strings.ReplaceAll(leaf(``), `2-b`, `2-c`),
			want: "leaf"},
		"attachment's place": {a: leaf(`,"_attachments":{},"v":1`), b: leaf(`,"v":1`)},
		"attachment missing": {a: attached(`,"data":"YQ=="`), b: leaf(``), want: "attachment f", wantLoose: "attachment f"},
		"attachment extra":   {a: leaf(``), b: attached(`,"data":"YQ=="`), want: "attachment f", wantLoose: "attachment f"},
		"attachment bytes": {a: attached(`,"data":"YQ=="`), b: attached(`,"data":"Yg=="`),
			want: "attachment f: bytes", loose: compare.Options{AnyEncoding: true}, wantLoose: "attachment f: bytes"},
		"attachment digest": {a: attached(`,"digest":"md5-a"`), b: attached(`,"digest":"md5-b"`),
			want: "attachment f: digest", loose: compare.Options{AnyEncoding: true}, wantLoose: "attachment f: digest"},
		"attachment type": {a: attached(`,"content_type":"a/b"`), b: attached(`,"content_type":"A/b"`),
			want: "attachment f: content_type", wantLoose: "attachment f: content_type"},
		"attachment revpos": {a: attached(`,"revpos":2`), b: attached(`,"revpos":1`),
			want: "attachment f: revpos", loose: compare.Options{AnyRevpos: true}},
		"attachment encoding": {a: attached(`,"encoding":"gzip","encoded_length":30`), b: attached(``),
			want: "attachment f: encoding", loose: compare.Options{AnyEncoding: true}},
		"attachment recompressed": {a: attached(`,"encoding":"gzip","encoded_length":30,"digest":"md5-a"`),
			b:    attached(`,"encoding":"gzip","encoded_length":30,"digest":"md5-b"`),
			want: "attachment f: digest", loose: compare.Options{AnyEncoding: true}},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, map[string]canned{"a": {leaves: c.a}, "b": {leaves: c.b}})
			expect(t, databases(t, url+"/a", url+"/b", compare.Options{}), c.want)
			expect(t, databases(t, url+"/b", url+"/b", compare.Options{}), selfDifference(c.want))
			expect(t, databases(t, url+"/a", url+"/b", c.loose), looseWant(c.loose, c.want, c.wantLoose))
		})
	}
}

// selfDifference is what is found where a database is compared with itself: only
// that it contradicts itself, which is found for either side.
func selfDifference(want string) string {
	if want == "leaf" {
		return "leaf in the first database (_changes, then open_revs)"
	}
	return ""
}

// looseWant is want where a case has no loose options of its own.
func looseWant(o compare.Options, want, loose string) string {
	if o.Numbers == compare.Text && !o.AnyKeyOrder && !o.AnyEncoding && !o.AnyRevpos && !o.Forgotten {
		return want
	}
	return loose
}

// expect checks what the first difference is about.
func expect(t *testing.T, report compare.Report, want string) {
	t.Helper()
	got := ""
	if !report.Same() {
		got = report.Differences[0].What
	}
	if got != want {
		t.Errorf("found %q, want %q: %v", got, want, report)
	}
}

func TestDocumentsOfOneSideAreDifferences(t *testing.T) {
	rows := func(ids ...string) string {
		var rows []string
		for _, id := range ids {
			rows = append(rows, `{"id":"`+id+`","changes":[{"rev":"2-b"}]}`)
		}
		return `{"results":[` + strings.Join(rows, ",") + `],"last_seq":3}`
	}
	url := serve(t, map[string]canned{
		"a": {changes: rows("x", "d", "y"), leaves: leaf("")},
		"b": {changes: rows("d", "z"), leaves: leaf("")},
	})
	report := databases(t, url+"/a", url+"/b", compare.Options{})
	var ids []string
	for _, d := range report.Differences {
		ids = append(ids, d.ID)
	}
	if got := strings.Join(ids, " "); got != "x y z" || report.Documents != 1 || report.Leaves != 1 {
		t.Errorf("found %s: %v", got, report)
	}
	wanted := func(id string) bool { return id == "d" }
	report = databases(t, url+"/a", url+"/b", compare.Options{Wanted: wanted})
	if len(report.Differences) != 1 || report.Differences[0].ID != "z" {
		t.Errorf("with one wanted: %v", report)
	}
}

func TestLeavesOnlyLooksAtChangesAlone(t *testing.T) {
	row := func(deleted string, revs ...string) string {
		return `{"results":[{"id":"d"` + deleted + `,"changes":[{"rev":"` + strings.Join(revs, `"},{"rev":"`) + `"}]}],"last_seq":1}`
	}
	url := serve(t, map[string]canned{
		"a":       {changes: row("", "2-b", "2-c"), leaves: "not even JSON"},
		"same":    {changes: row("", "2-c", "2-b")},
		"fewer":   {changes: row("", "2-b")},
		"deleted": {changes: row(`,"deleted":true`, "2-b", "2-c")},
	})
	o := compare.Options{LeavesOnly: true}
	expect(t, databases(t, url+"/a", url+"/same", o), "")
	expect(t, databases(t, url+"/a", url+"/fewer", o), "leaf in _changes")
	expect(t, databases(t, url+"/fewer", url+"/a", o), "leaf in _changes")
	expect(t, databases(t, url+"/a", url+"/deleted", o), "deleted in _changes")
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	good := canned{leaves: leaf("")}
	for name, bad := range map[string]canned{
		"changes cut short":        {changes: `{"results":[{"id":"d","changes":[]}`},
		"changes cut after a row":  {changes: `{"results":[{"id":"d","changes":[]},`},
		"changes without an end":   {changes: `{"results":[]`},
		"changes of another kind":  {changes: `{"error":"x"}`},
		"changes that are a list":  {changes: `[]`},
		"document that is no JSON": {leaves: `{"ok":`},
		"document of another kind": {leaves: `{"ok":{"_rev":7}}`},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, map[string]canned{"good": good, "bad": bad})
			for _, pair := range [][2]string{{"good", "bad"}, {"bad", "good"}, {"good", "absent"}, {"absent", "good"}} {
				if _, err := compare.Databases(t.Context(), url+"/"+pair[0], url+"/"+pair[1], compare.Options{}); err == nil {
					t.Errorf("%v compared", pair)
				}
			}
		})
	}
}

func TestErrorsHideThePassword(t *testing.T) {
	for _, address := range []string{"http://adm:secret@127.0.0.1:1/db", "http://adm:secret@%zz/db"} {
		_, err := compare.Databases(t.Context(), address, address, compare.Options{})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
}

func TestReportShowsTheFirstDifferencesOnly(t *testing.T) {
	var report compare.Report
	for i := range 100 {
		report.Differences = append(report.Differences, compare.Difference{ID: fmt.Sprint("doc-", i)})
	}
	text := report.String()
	if lines := strings.Count(text, "\n"); lines != 21 || !strings.Contains(text, "100 differences") || !strings.Contains(text, "80 more") {
		t.Errorf("%d lines:\n%s", lines, text)
	}
}

func TestDatabaseIsTheSameAsItself(t *testing.T) {
	for _, s := range peer.All(t) {
		t.Run(s.Name, func(t *testing.T) {
			db := s.NewDB(t)
			if err := dataset.Awkward(t.Context(), db, s.Capabilities, seed); err != nil {
				t.Fatal(err)
			}
			report := databases(t, db, db, compare.Options{})
			if !report.Same() {
				t.Error(report)
			}
			if report.Documents < 100 || report.Leaves < 250 || report.Attachments < 50 {
				t.Errorf("little was compared: %v", report)
			}
		})
	}
}

// The plainest replication there can be, one document after the other, must pass
// between every two servers: else the options of For are too strict.
func TestPlainCopiesPassBetweenAllPairs(t *testing.T) {
	for _, p := range peer.Pairs(t) {
		t.Run(p.Name(), func(t *testing.T) {
			source, target := p.NewDBs(t)
			can := p.Shared()
			// Inline attachments lose their encoding: a plain copy is not that good.
			can.EncodedAttachments = false
			if err := dataset.Awkward(t.Context(), source, can, seed); err != nil {
				t.Fatal(err)
			}
			copyPlainly(t, source, target)
			compare.Require(t, source, target, compare.For(p))
		})
	}
}

func TestPlainCopyOfClientGzippedAttachmentsIsFoundOut(t *testing.T) {
	for _, s := range peer.OfKind(t, peer.CouchDB) {
		source, target := s.NewDB(t), s.NewDB(t)
		if err := dataset.Awkward(t.Context(), source, s.Capabilities, seed); err != nil {
			t.Fatal(err)
		}
		copyPlainly(t, source, target)
		report := databases(t, source, target, compare.Options{})
		if report.Same() {
			t.Error("nothing was found")
		}
		for _, d := range report.Differences {
			if !strings.HasPrefix(d.ID, "att-gzipped") {
				t.Errorf("found %v", d)
			}
		}
	}
}

// CouchDB's own replication is what the strictest comparison has to find right.
func TestCouchDBsOwnReplicationPassesStrictly(t *testing.T) {
	for _, s := range peer.OfKind(t, peer.CouchDB) {
		source, target := s.NewDB(t), s.NewDB(t)
		if err := dataset.Awkward(t.Context(), source, s.Capabilities, seed); err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: time.Minute}
		// On a document whose only attachment is empty and not compressed, CouchDB
		// 3.5.0 waits for five minutes, having written it; and it ends at headers that line
		// ends in the names and types of attachments make.
		for _, id := range []string{"att-empty", "att-names", "att-names-of-texts", "att-types"} {
			var doc struct {
				Rev string `json:"_rev"`
			}
			if err := json.Unmarshal(ask(t, client, http.MethodGet, source+"/"+id, ""), &doc); err != nil {
				t.Fatal(err)
			}
			ask(t, client, http.MethodDelete, source+"/"+id+"?rev="+doc.Rev, "")
		}
		ask(t, client, http.MethodPost, s.URL+"/_replicate", fmt.Sprintf(`{"source":%q,"target":%q}`, source, target))
		compare.Require(t, source, target, compare.Options{})
	}
}

// copyPlainly replicates with attachments inline.
func copyPlainly(t *testing.T, source, target string) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var feed struct {
		Results []struct {
			ID string `json:"id"`
		} `json:"results"`
	}
	if err := json.Unmarshal(ask(t, client, http.MethodGet, source+"/_changes", ""), &feed); err != nil {
		t.Fatal(err)
	}
	for _, row := range feed.Results {
		path := "/" + strings.ReplaceAll(url.PathEscape(row.ID), "+", "%2B")
		if name, ok := strings.CutPrefix(path, "/_design%2F"); ok {
			path = "/_design/" + name
		}
		var leaves []struct {
			OK json.RawMessage `json:"ok"`
		}
		text := ask(t, client, http.MethodGet, source+path+"?open_revs=all&revs=true&attachments=true", "")
		if err := json.Unmarshal(text, &leaves); err != nil {
			t.Fatalf("open %q: %v", row.ID, err)
		}
		docs := make([]string, 0, len(leaves))
		for _, l := range leaves {
			docs = append(docs, string(l.OK))
		}
		ask(t, client, http.MethodPost, target+"/_bulk_docs", `{"new_edits":false,"docs":[`+strings.Join(docs, ",")+`]}`)
	}
}

func ask(t *testing.T, client *http.Client, method, url, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %.300s %v", method, url, res.StatusCode, answer, err)
	}
	return answer
}
