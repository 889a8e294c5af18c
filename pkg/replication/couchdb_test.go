package replication

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"millrace/pkg/queryserver"
)

// server is a real CouchDB, reached with the standard library only.
type server struct {
	t      *testing.T
	base   string
	client *http.Client
}

// realServer returns the first server of MILLRACE_TEST_COUCHDB.
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

// call sends JSON and returns the decoded answer.
func (s server) call(method, path string, body any) map[string]any {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(answer, &v); err != nil {
		s.t.Fatalf("%s %s answered %s", method, path, answer)
	}
	return v
}

// TestRealCouchDBGivesTheSameID posts jobs to endpoints that nobody listens on:
// CouchDB answers with the id before it contacts them, and drops the jobs when
// they fail. (To cancel one takes it seconds.)
func TestRealCouchDBGivesTheSameID(t *testing.T) {
	s := realServer(t)
	uuid, _ := s.call("GET", "/", nil)["uuid"].(string)
	const db = "replication-id-test"
	s.call("DELETE", "/"+db, nil)
	s.call("PUT", "/"+db, nil)
	defer s.call("DELETE", "/"+db, nil)

	code := map[string]string{
		"spaces":     "  function(doc, req) { return true; }  ",
		"lines":      "  function(doc, req) {\n  return true;\n}\n",
		"line end":   " function(doc) { return true; } \n",
		"non-ascii":  "function(doc) { return doc.x == 'é€😀'; }",
		"tabs":       "\t function(doc) { return true; } \t",
		"crlf":       " function(doc) {\r\n return true; }\r\n ",
		"crlf end":   " function(doc) { return true; } \r\n",
		"line first": "\n  function(doc) { return true; }  ",
		"two ends":   "  function(doc) { return true; }  \n\n",
		"separator":  "  function(doc) { return '\u2028\u0085'; }  ",
		"zero":       "  function(doc) { return '\x00\x7f'; }  ",
		"empty":      "",
		"blank":      "   ",
		"with/slash": " (doc, req) => doc.owner === req.query.owner ",
		"quotes":     `  function(doc) { return doc.a === "\\\"" || doc.b === '\u00e9' }`,
	}
	s.call("PUT", "/"+db+"/_design/f", map[string]any{"filters": code})
	ddoc, err := json.Marshal(s.call("GET", "/"+db+"/_design/f", nil))
	if err != nil {
		t.Fatal(err)
	}

	live, err := url.Parse(s.base)
	if err != nil {
		t.Fatal(err)
	}
	source := live.JoinPath(db).String()
	for _, fields := range []string{
		``,
		`"create_target":true`,
		`"source":"http://u%40x:p@127.0.0.1:1/a%2Fb/"`,
		`"source":"https://127.0.0.1:1/x?y=z"`,
		`"source":"http://[::1]:1/x"`,
		`"source":{"url":"http://127.0.0.1:1/x","headers":{"X-b":"1","x-a":" 2 ","Authorization":"Bearer q"}}`,
		`"source":{"url":"http://127.0.0.1:1/x","headers":{"X-b":"1","X-a":"2"}}`,
		`"source":{"url":"http://127.0.0.1:1/x","auth":{"basic":{"username":"ü","password":"p"}}}`,
		`"source":{"url":"http://127.0.0.1:1/x","headers":{"authorization":"bAsIc dTpw"}}`,
		`"winning_revs_only":true`,
		`"doc_ids":["b","a%2Fb","a+b","é"]`,
		`"doc_ids":[]`,
		`"selector":{"z":1,"a":{"$gt":3.0,"$lt":1e3}}`,
		`"selector":{"$not":{"a":{"$in":[1,2,3]}},"b":{"$elemMatch":{"c":{"d":10000000000000000000000}}}}`,
		`"selector":{"$nor":[{"a":{"$exists":true}},{"b":{"$type":"é"}}]}`,
		`"selector":{"b":{"$eq":{"y":1,"x":2,"y":3}},"a":1,"a":2}`,
		`"selector":{}`,
		`"filter":"_design"`,
		`"filter":"_view","query_params":{"view":"a/b","b":[1,2],"a":-1.5}`,
		`"filter":"f/spaces","source":"` + source + `"`,
		`"filter":"f/lines","query_params":{"x":{"y":[300]}},"source":"` + source + `"`,
		`"filter":"f/line end","source":"` + source + `"`,
		`"filter":"f/non-ascii","source":"` + source + `"`,
		`"filter":"f/tabs","source":"` + source + `"`,
		`"filter":"f/crlf","source":"` + source + `"`,
		`"filter":"f/crlf end","source":"` + source + `"`,
		`"filter":"f/line first","source":"` + source + `"`,
		`"filter":"f/two ends","source":"` + source + `"`,
		`"filter":"f/separator","source":"` + source + `"`,
		`"filter":"f/zero","source":"` + source + `"`,
		`"filter":"f/empty","source":"` + source + `"`,
		`"filter":"f/blank","source":"` + source + `"`,
		`"filter":"f/with/slash","query_params":{"owner":"é😀","n":1.50,"l":[],"t":true},"source":"` + source + `"`,
		`"filter":"f/quotes","query_params":{},"winning_revs_only":true,"source":"` + source + `"`,
	} {
		t.Run(fields, func(t *testing.T) {
			doc := `{` + fields
			if fields != "" {
				doc += `,`
			}
			if !strings.Contains(fields, `"source"`) {
				doc += `"source":"http://127.0.0.1:1/source",`
			}
			doc += `"target":"http://127.0.0.1:1/target","continuous":true,"retries_per_request":1}`
			spec, err := ParseSpec([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			read := ""
			if _, name, ok := spec.FilterDesignDoc(); ok {
				if read, err = queryserver.Source(ddoc, name); err != nil || read != code[name] {
					t.Fatalf("the source of %s was read as %q: %v", name, read, err)
				}
			}
			id, err := spec.Jobs()[0].ID(uuid, read)
			if err != nil {
				t.Fatal(err)
			}
			answer := s.call("POST", "/_replicate", json.RawMessage(doc))
			if got := fmt.Sprint(answer["_local_id"]); got != id.String() {
				t.Errorf("CouchDB answered %v, ours is %s", answer, id)
			}
		})
	}
}
