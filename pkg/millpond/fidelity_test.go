package millpond_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"millrace/pkg/millpond"
)

// odd are bodies that a decoder would change (invariant 7).
var odd = []string{
	`"n":1e400,"m":0.1000,"k":9223372036854775808,"z":-0,"e":1E+2`,
	`"z":1,"a":2,"m":{"z":1,"a":2}`,
	`"a":1,"a":2,"o":{"b":1,"b":{"c":3}}`,
	`"s":"\u00e9é\/\ud83d\ude00","\u0061":"escaped name"`,
	`"space" : [ 1 ,2 ],  "deep":[[[[]]]]`,
	`"":"empty name"`,
}

func TestBodiesComeOutAsTheyWentIn(t *testing.T) {
	db := serve(t, millpond.Options{}).database(t)
	for i, body := range odd {
		id := fmt.Sprintf("d%d", i)
		doc := `{"_id":"` + id + `",` + body + `,"_revisions":{"start":1,"ids":["r"]}}`
		want := `{"_id":"` + id + `","_rev":"1-r",` + body + `}`
		db.converse([]exchange{{"POST", "/_bulk_docs", `{"docs":[` + doc + `],"new_edits":false}`, 201, `[]`}})
		for what, r := range map[string]response{
			"GET":       db.send("GET", "/"+id, ""),
			"open_revs": db.send("GET", "/"+id+"?open_revs=all", ""),
			"_bulk_get": db.send("POST", "/_bulk_get", `{"docs":[{"id":"`+id+`"}]}`),
			"_changes":  db.send("GET", "/_changes?include_docs=true", ""),
			"_all_docs": db.send("GET", "/_all_docs?include_docs=true", ""),
			"multipart": db.send("GET", "/"+id+"?open_revs=all", "", "Accept", "multipart/mixed"),
		} {
			if !strings.Contains(r.body, want) {
				t.Errorf("%s\n got %s\nwant %s", what, r.body, want)
			}
		}
	}
}

func TestSpecialMembersAreFoundAnywhere(t *testing.T) {
	db := serve(t, millpond.Options{}).database(t)
	for doc, want := range map[string]string{
		`{"a":1,"_id":"x","b":2,"_rev":"1-r","c":3}`:             `{"_id":"x","_rev":"1-r","a":1,"b":2,"c":3}`,
		`{"\u005fid":"y","a":1,"_\u0072ev":"1-r"}`:               `{"_id":"y","_rev":"1-r","a":1}`,
		`{"_id":"w","_rev":"1-no","_id":"z","_rev":"2-r"}`:       `{"_id":"z","_rev":"2-r"}`,
		`{"_id":"k","_rev":"1-r","_replication_state":"done"}`:   `{"_id":"k","_rev":"1-r","_replication_state":"done"}`,
		`{"_id":"i","_rev":"1-r","_conflicts":[1],"a":{"_x":1}}`: `{"_id":"i","_rev":"1-r","a":{"_x":1}}`,
	} {
		db.converse([]exchange{{"POST", "/_bulk_docs", `{"docs":[` + doc + `],"new_edits":false}`, 201, `[]`}})
		id := between(want, `"_id":"`, `"`)
		if got := strings.TrimSpace(db.send("GET", "/"+id, "").body); got != want {
			t.Errorf("%s\n got %s\nwant %s", doc, got, want)
		}
	}
}

func FuzzDocument(f *testing.F) {
	for _, body := range odd {
		f.Add(`{"_id":"x","_rev":"1-r",` + body + `}`)
	}
	f.Add(`{"_id":"x","_rev":"1-r","_attachments":{"f":{"data":"aGk="}}}`)
	f.Add(`{"_revisions":{"start":2,"ids":["b","a"]},"_deleted":true}`)
	f.Add(`[1]`)
	f.Add(`{"a"`)
	pond := serve(f, millpond.Options{})
	f.Fuzz(func(t *testing.T, doc string) {
		db := pond.database(t)
		r := db.send("PUT", "/x?new_edits=false", doc)
		if r.status >= 500 {
			t.Fatalf("%q: %d %s", doc, r.status, r.body)
		}
		if r.status != 200 && r.status != 201 {
			return
		}
		if got := db.send("GET", "/x?deleted=true", ""); got.status != 200 || !json.Valid([]byte(got.body)) {
			t.Fatalf("%q is returned as %d %q", doc, got.status, got.body)
		}
	})
}
