package couch

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// strange are documents whose bytes must survive (invariant 7).
var strange = []string{
	`{"_id":"a","_rev":"1-x","n":1e400,"m":0.1000,"big":9223372036854775808,"neg":-0}`,
	`{"z":1,"_rev":"2-y","a":2,"_id":"b\u00e9","esc":"\u0041\/\ud83d\ude00","_deleted":true}`,
	`{"_id":"c","_rev":"1-z","x":1,"x":2, "white" :  "space" }`,
	"{\"_id\":\"d\",\"_rev\":\"1-z\",\"bad\":\"\xff\xfe\",\"lone\":\"\\ud800\"}",
}

// collect keeps all items, whose documents are valid until the next call of Next only.
func collect(b *BulkGetResults) (items []BulkGetItem, err error) {
	for {
		item, err := b.Next()
		if err != nil {
			return items, err
		}
		item.Doc = bytes.Clone(item.Doc)
		items = append(items, item)
	}
}

func bulkGet(t *testing.T, db *DB) ([]BulkGetItem, error) {
	t.Helper()
	b, err := db.BulkGet(context.Background(), []BulkGetRequest{{ID: "a"}}, BulkGetOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	return collect(b)
}

func TestBulkGetSendsRequestsAndOptions(t *testing.T) {
	var asked, body, encoding string
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var in io.Reader = r.Body
		if encoding = r.Header.Get("Content-Encoding"); encoding == "gzip" {
			in, _ = gzip.NewReader(in)
		}
		got, _ := io.ReadAll(in)
		asked, body = r.URL.RequestURI(), string(got)
		_, _ = io.WriteString(w, `{"results": []}`)
	})
	for _, compress := range []bool{false, true} {
		b, err := db.BulkGet(context.Background(), []BulkGetRequest{{ID: `a"`, Rev: "1-x", AttsSince: []string{"1-a", "1-b"}}, {ID: "b"}},
			BulkGetOptions{Revs: true, Latest: true, Attachments: true, AttEncodingInfo: true, Gzip: compress})
		require.NoError(t, err)
		items, err := collect(b)
		require.Equal(t, io.EOF, err)
		require.Empty(t, items)
		require.NoError(t, b.Close())
		require.Equal(t, "/db/_bulk_get?att_encoding_info=true&attachments=true&latest=true&revs=true", asked)
		require.Equal(t, `{"docs":[{"id":"a\"","rev":"1-x","atts_since":["1-a","1-b"]},{"id":"b"}]}`, body)
		require.Equal(t, compress, encoding == "gzip")
	}
}

func TestBulkGetGivesEveryDocumentOfEveryResult(t *testing.T) {
	db := serve(t, answer(`{"results": [`+
		`{"id":"none","docs":[]},`+
		`{"id":"many","docs":[{"ok":`+strange[0]+`},{"ok":`+strange[1]+`},{"error":{"id":"many","rev":"1-q","error":"not_found","reason":"missing"}}]},`+
		`{"docs":[{"ok":`+strange[2]+`}],"id":"late"},{"id":"odd","docs":[{"what":1}]},`+
		`{"id":"last","docs":[{"ok":`+strange[3]+`}],"more":{}}],"extra":[1]}`))
	db2 := serve(t, answer(`{"warning":1,"results":[]}`))
	_, err := bulkGet(t, db2)
	require.Equal(t, io.EOF, err)

	items, err := bulkGet(t, db)
	require.Equal(t, io.EOF, err)
	require.Len(t, items, 7)
	require.Equal(t, BulkGetItem{Result: 0, ID: "none"}, items[0])
	require.Equal(t, []int{0, 1, 1, 1, 2, 3, 4}, func() (r []int) {
		for _, i := range items {
			r = append(r, i.Result)
		}
		return r
	}())
	require.Equal(t, "1-x", items[1].Meta.Rev)
	require.True(t, items[2].Meta.Deleted)
	require.Equal(t, "bé", items[2].Meta.ID)
	require.Equal(t, &DocError{ID: "many", Rev: "1-q", Err: "not_found", Reason: "missing"}, items[3].Err)
	require.Equal(t, BulkGetItem{Result: 3, ID: "odd"}, items[5])
	for i, n := range map[int]int{1: 0, 2: 1, 4: 2, 6: 3} {
		require.Equal(t, strange[n], string(items[i].Doc))
	}
}

func TestBulkGetCutAnywhereGivesWholeDocumentsAndCutError(t *testing.T) {
	body := `{"results":[{"id":"a","docs":[{"ok":` + strange[0] + `}]},{"id":"b","docs":[{"ok":` + strange[1] + `},{"ok":` + strange[2] + `}]}]}`
	for cut := 0; cut < len(body); cut += 5 {
		items, err := bulkGet(t, serve(t, cutAfter(body[:cut])))
		var cutError *CutError
		require.ErrorAs(t, err, &cutError, cut)
		for i, item := range items {
			require.Equal(t, strange[i], string(item.Doc))
		}
		items, err = bulkGet(t, serve(t, answer(body[:cut])))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, cut)
		require.Equal(t, Transient, Classify(err))
		require.LessOrEqual(t, len(items), 3)
	}
}

func TestBulkDocsSendsTheBytesItGot(t *testing.T) {
	want := `{"new_edits":false,"docs":[` + strings.Join(strange, ",") + `]}`
	var docs [][]byte
	for _, s := range strange {
		docs = append(docs, []byte(s))
	}
	for _, compress := range []bool{false, true} {
		var got []byte
		db := serve(t, func(w http.ResponseWriter, r *http.Request) {
			in := io.Reader(r.Body)
			if compress {
				in, _ = gzip.NewReader(r.Body)
			} else if r.ContentLength != int64(len(want)) {
				panic("length")
			}
			got, _ = io.ReadAll(in)
			w.WriteHeader(201)
			_, _ = io.WriteString(w, `[]`)
		})
		results, err := db.BulkDocs(context.Background(), docs, BulkDocsOptions{Gzip: compress})
		require.NoError(t, err)
		require.Empty(t, results)
		require.Equal(t, want, string(got))
	}
}

func TestBulkDocsAnswers(t *testing.T) {
	refused := `[{"id":"a","rev":"1-x","error":"forbidden","reason":"no"},{"ok":true,"id":"b","rev":"2-y"}]`
	for _, code := range []int{200, 201, 202, 417} {
		results, err := serve(t, status(code, refused)).BulkDocs(context.Background(), nil, BulkDocsOptions{})
		require.NoError(t, err)
		require.Equal(t, []DocResult{{ID: "a", Rev: "1-x", Err: "forbidden", Reason: "no"}, {ID: "b", Rev: "2-y"}}, results)
	}
	for _, code := range []int{400, 412, 413} {
		_, err := serve(t, status(code, `{"error":"bad_request","reason":"x"}`)).BulkDocs(context.Background(), nil, BulkDocsOptions{})
		require.Equal(t, PerDocument, Classify(err))
	}
}

func TestNewEditsAreNeverSentTwice(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{status(500, "")}}
	_, err := serve(t, s.ServeHTTP).BulkDocs(context.Background(), [][]byte{[]byte(`{}`)}, BulkDocsOptions{NewEdits: true})
	require.Error(t, err)
	require.Equal(t, []string{`POST /db/_bulk_docs {"docs":[{}]}`}, s.asked)
}

func TestRevsDiffMergesIdsAndKeepsTheAnswersOrder(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{status(200, `{"z":{"missing":["2-b","2-a"],"possible_ancestors":["1-q"]},"a\"":{"missing":["1-x"]}}`)}}
	missing, err := serve(t, s.ServeHTTP).RevsDiff(context.Background(), []IDRevs{
		{ID: `a"`, Revs: []string{"1-x"}}, {ID: "", Revs: []string{"1-x"}}, {ID: "z", Revs: []string{"2-a"}}, {ID: "z", Revs: []string{"2-b"}},
	})
	require.NoError(t, err)
	require.Equal(t, []string{`POST /db/_revs_diff {"a\"":["1-x"],"z":["2-a","2-b"]}`}, s.asked)
	require.Equal(t, []Missing{
		{ID: "z", Revs: []string{"2-b", "2-a"}, PossibleAncestors: []string{"1-q"}},
		{ID: `a"`, Revs: []string{"1-x"}},
	}, missing)
}

func BenchmarkBulkGet(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`{"results":[`)
	for i := range 5000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"id":"doc-%06d","docs":[{"ok":{"_id":"doc-%06d","_rev":"1-967a00dff5e02add41819138abb3284d","type":"x","text":"%s","_revisions":{"start":1,"ids":["967a00dff5e02add41819138abb3284d"]}}}]}`,
			i, i, strings.Repeat("lorem ipsum ", 80))
	}
	body.WriteString(`]}`)
	b.SetBytes(int64(body.Len()))
	b.ReportAllocs()
	for b.Loop() {
		results := newBulkGetResults(io.NopCloser(bytes.NewReader(body.Bytes())), fuzzed)
		items, err := 0, error(nil)
		for ; err == nil; items++ {
			_, err = results.Next()
		}
		if err != io.EOF || items != 5001 {
			b.Fatal(items, err)
		}
	}
}

func BenchmarkChanges(b *testing.B) {
	var body bytes.Buffer
	body.WriteString("{\"results\":[\n")
	for i := range 50000 {
		if i > 0 {
			body.WriteString(",\n")
		}
		fmt.Fprintf(&body, `{"seq":null,"id":"doc-%06d","changes":[{"rev":"1-967a00dff5e02add41819138abb3284d"}]}`, i)
	}
	body.WriteString("\n],\n\"last_seq\":\"x\",\"pending\":0}\n")
	b.SetBytes(int64(body.Len()))
	b.ReportAllocs()
	for b.Loop() {
		c := newChanges(io.NopCloser(bytes.NewReader(body.Bytes())), fuzzed, ChangesOptions{})
		var err error
		for err == nil {
			_, err = c.Next()
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}

func BenchmarkBulkDocs(b *testing.B) {
	docs := make([][]byte, 1000)
	for i := range docs {
		docs[i] = []byte(`{"_id":"x","text":"` + strings.Repeat("lorem ipsum ", 80) + `"}`)
	}
	var r request
	if err := r.setJSON(false, bulkDocsParts(docs, false)...); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(r.body.length)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.setJSON(false, bulkDocsParts(docs, false)...); err != nil {
			b.Fatal(err)
		}
		rc, _ := r.body.open()
		if _, err := io.Copy(io.Discard, rc); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReasonsMayBeAnyJSON(t *testing.T) {
	db := serve(t, status(201, `[{"id":"a","rev":"1-x","error":"forbidden","reason":{"why":1}},{"id":"b","error":"unauthorized","reason":null},{"id":"c","error":7}]`))
	results, err := db.BulkDocs(context.Background(), [][]byte{[]byte(`{}`)}, BulkDocsOptions{})
	require.NoError(t, err)
	require.Equal(t, []DocResult{
		{ID: "a", Rev: "1-x", Err: "forbidden", Reason: `{"why":1}`}, {ID: "b", Err: "unauthorized"}, {ID: "c", Err: "7"},
	}, results)
	require.Equal(t, PerDocument, Classify(results[0].Failure()))

	got, err := serve(t, status(200, `{"results":[{"id":"a","docs":[{"error":{"id":"a","rev":"1-x","error":"not_found","reason":["x"]}}]}]}`)).
		BulkGet(context.Background(), []BulkGetRequest{{ID: "a"}}, BulkGetOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, got.Close()) }()
	item, err := got.Next()
	require.NoError(t, err)
	require.Equal(t, &DocError{ID: "a", Rev: "1-x", Err: "not_found", Reason: `["x"]`}, item.Err)
}
