package queryserver_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"millrace/pkg/queryserver"
)

// Design documents and documents are a server's. What is made of them is an answer or an error
// that says what failed.
func FuzzFilter(f *testing.F) {
	f.Add([]byte(`{"_id":"_design/f","filters":{"f":"function(doc, req){ return doc.a === req.query.a }"}}`), []byte(`{"_id":"a","a":"1"}`), []byte(`{"a":"1"}`), false)
	f.Add([]byte(`{"filters":{"f":"(doc) => require('lib/a').x"},"lib":{"a":"exports.x = 1"}}`), []byte(`{"__proto__":1,"constructor":2}`), []byte(`{"a":[1],"a":{}}`), false)
	f.Add([]byte(`{"_id":"_design/f","views":{"f":{"map":"function(doc){ emit(1) }"}}}`), []byte(`[[[[[[]]]]]]`), []byte(`{}`), true)
	f.Add([]byte(`{"_id":"\ud800","filters":{"f":"function(d){ throw {error: '\ud800', reason: d} }"}}`), []byte("{\"\xff\":\"\\ud800\"}"), []byte(``), false)
	f.Add([]byte(`{"filters":{"f":{}},"language":"x"}`), []byte(``), []byte(`null`), false)
	all := queryserver.NewFilters(queryserver.Options{Limits: queryserver.Limits{Timeout: 100 * time.Millisecond, Memory: 8 << 20}})
	f.Cleanup(all.Close)
	f.Fuzz(func(t *testing.T, ddoc, doc, params []byte, view bool) {
		query, err := queryserver.Query("f/f", "all_docs", true, params)
		if err == nil && !json.Valid(query) {
			t.Fatalf("%q has the query %q", params, query)
		}
		var failed *queryserver.FilterError
		if _, err := queryserver.Source(ddoc, "f"); err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		filter, err := all.Compile(queryserver.Function{DesignDoc: ddoc, Name: "f", View: view, Request: queryserver.Request{Query: query}})
		if err != nil {
			return
		}
		chosen, err := filter.Match(t.Context(), doc, doc)
		if err == nil && len(chosen) == 2 {
			return
		}
		if !errors.As(err, &failed) || len(chosen) > 1 || failed.Name == "" || len(err.Error()) > 5000+2*len(ddoc)+2*len(doc) {
			t.Fatalf("%v, %v", chosen, err)
		}
	})
}
