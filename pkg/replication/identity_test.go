package replication

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"testing"
)

// vectorUUID is the server uuid of all vectors.
const vectorUUID = "a3ec3b9c1b1c4f2d8f0e1d2c3b4a5968"

// idVectors are the ids that CouchDB 3.5.0's own modules computed, and for some
// documents that they refused them.
//
//go:embed testdata/ids.json
var idVectors []byte

func idOf(t testing.TB, doc, code string) string {
	t.Helper()
	s, err := ParseSpec([]byte(doc))
	if err != nil {
		t.Fatalf("ParseSpec(%s): %v", doc, err)
	}
	id, err := s.Jobs()[0].ID(vectorUUID, code)
	if err != nil {
		t.Fatalf("ID of %s: %v", doc, err)
	}
	return id.String()
}

func TestIDIsThatOfCouchDB(t *testing.T) {
	var vectors []struct {
		Name            string
		Doc             json.RawMessage
		Code, ID, Error string
	}
	if err := json.Unmarshal(idVectors, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			if v.Error != "" {
				if _, err := ParseSpec(v.Doc); err == nil {
					t.Errorf("%s was accepted; CouchDB says %s", v.Doc, v.Error)
				}
				return
			}
			if got := idOf(t, string(v.Doc), v.Code); got != v.ID {
				t.Errorf("id of %s\nis %s, want %s", v.Doc, got, v.ID)
			}
		})
	}
}

// since_seq is part of the id from CouchDB 3.5.2 on; these are of that version.
func TestSinceSeqIsPartOfTheID(t *testing.T) {
	for since, want := range map[string]string{
		`10`:       "c80ed1221ba7b1e9199a30d40b1c5f92",
		`"10-abc"`: "4c12925fc9c77d830908017b1cddbf44",
		`0`:        "dc02999b9919e27c2e0dde1f320c0030",
		`null`:     "dad99ff01b42d472b93def36d34a2935",
	} {
		doc := fmt.Sprintf(`{"source":"http://foo.example.bar","target":"http://bar.example.foo","since_seq":%s}`, since)
		if got := idOf(t, doc, ""); got != want {
			t.Errorf("id with since_seq %s is %s, want %s", since, got, want)
		}
	}
}

// The vectors of the reference, as written there.
func TestIDVectorsOfTheReference(t *testing.T) {
	const plain = "dad99ff01b42d472b93def36d34a2935"
	for _, c := range []struct{ name, fields, want string }{
		{"plain", ``, plain},
		{"https source", `"source":"https://foo.example.bar"`, plain},
		{"port 5984", `"source":"http://foo.example.bar:5984"`, plain},
		{"continuous", `"continuous":true`, plain + "+continuous"},
		{"create_target", `"create_target":true`, plain + "+create_target"},
		{"both", `"create_target":true,"continuous":true`, plain + "+continuous+create_target"},
		{"tuning", `"worker_processes":9,"proxy":"http://p:1","use_checkpoints":false`, plain},
		{"winning_revs_only false", `"winning_revs_only":false`, plain},
		{"default header", `"source":{"url":"http://foo.example.bar","headers":{"Accept":"application/json"}}`, plain},
		{"port 15984", `"source":"http://foo.example.bar:15984"`, "b123a2b4b4ad9e70ca138e8e6505d2c8"},
		{"localhost", `"source":"http://localhost:5984/src","target":"http://localhost:5984/tgt"`, "7591c4f673df6a6ab75e6ac5edbba7ee"},
		{"user", `"source":"http://adm:pass@localhost:5984/src","target":"http://adm:x@localhost:5984/tgt"`, "93c1f34cfd28a2327d6ec38e4274cec5"},
		{"headers", `"source":{"url":"http://foo.example.bar","headers":{"X-B":"2","X-A":"1"}}`, "8080e8e469f001b6c58683d5355dcf01"},
		{"winning_revs_only", `"winning_revs_only":true`, "9f4edb100813dbe8576f40d1b55d699e"},
		{"doc_ids", `"doc_ids":["b","a"]`, "192474b6f913f9d98d11e6b519aa59b9"},
		{"doc_ids repeated", `"doc_ids":["a","b","a"]`, "192474b6f913f9d98d11e6b519aa59b9"},
		{"no doc_ids", `"doc_ids":[]`, "a6fb7c3fd512ff0a6c8d3ed74629042f"},
		{"selector", `"selector":{"_id":"doc2"}`, "306533f68649bcc73bc5092743f46bf4"},
		{"nested selector", `"selector":{"a":{"b":1}}`, "030b8990af58d60c7f49a4bcf1a0c42f"},
		{"selector of two", `"selector":{"z":1,"a":{"$gt":3}}`, "b90ea24ee2149e0ec21b07b1c67e6fff"},
		{"view", `"filter":"_view","query_params":{"view":"d/v"}`, "5e8eeabeb05e3eb6f752c7cfa8efad71"},
		{"design", `"filter":"_design"`, "5a3d8fba770f2d4f6001e68823075be3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Of repeated names the last counts: these are defaults.
			doc := `{"source":"http://foo.example.bar","target":"http://bar.example.foo"`
			if c.fields != "" {
				doc += `,` + c.fields
			}
			doc += `}`
			if got := idOf(t, doc, ""); got != c.want {
				t.Errorf("id %s, want %s", got, c.want)
			}
		})
	}
}

func TestEndpointMadeByHandHasNoID(t *testing.T) {
	j := Job{Spec: &Spec{Source: Endpoint{URL: "http://s/"}}, Target: Endpoint{URL: "http://t/"}}
	if id, err := j.ID(vectorUUID, ""); err == nil {
		t.Errorf("id %s, want an error", id)
	}
}

func TestParseIDSplitsAtThePlus(t *testing.T) {
	for in, want := range map[string]ID{
		"abc":            {"abc", ""},
		"abc+x+y":        {"abc", "+x+y"},
		"abc x y":        {"abc", "+x+y"},
		"":               {},
		"abc+continuous": {"abc", "+continuous"},
		"+continuous":    {"", "+continuous"},
	} {
		if got := ParseID(in); got != want {
			t.Errorf("ParseID(%q) = %+v, want %+v", in, got, want)
		}
	}
	if got := (ID{"abc", "+continuous"}).Checkpoint(); got != "_local/abc" {
		t.Errorf("Checkpoint() = %s", got)
	}
}
