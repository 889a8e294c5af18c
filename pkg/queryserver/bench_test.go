package queryserver_test

import (
	"encoding/json"
	"strings"
	"testing"

	"millrace/pkg/queryserver"
)

// The cost of a simple filter for each document of 1 kB.
func BenchmarkFilter(b *testing.B) {
	doc, err := json.Marshal(map[string]any{
		"_id": "doc", "_rev": "1-abc", "owner": "joe", "n": 12.5, "tags": []string{"a", "b", "c"}, "text": strings.Repeat("x", 900),
		"_revisions": map[string]any{"start": 1, "ids": []string{"abc"}},
	})
	if err != nil {
		b.Fatal(err)
	}
	ddoc := []byte(`{"_id":"_design/f","filters":{"f":"function(doc, req){ return doc.owner === req.query.owner }"}}`)
	f := queryserver.NewFilters(queryserver.Options{})
	defer f.Close()
	query, err := queryserver.Query("f/f", "all_docs", true, []byte(`{"owner":"joe"}`))
	if err != nil {
		b.Fatal(err)
	}
	filter, err := f.Compile(queryserver.Function{DesignDoc: ddoc, Name: "f", Request: queryserver.Request{Query: query}})
	if err != nil {
		b.Fatal(err)
	}
	docs := make([][]byte, 100)
	for i := range docs {
		docs[i] = doc
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for i := 0; i < b.N; i += len(docs) {
		if _, err := filter.Match(b.Context(), docs...); err != nil {
			b.Fatal(err)
		}
	}
}
