package millpond_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// selected is what a feed with a selector shows: "id rev rev, id rev".
func (db *database) selected(query, selector string) string {
	db.t.Helper()
	r := db.send("POST", "/_changes?filter=_selector&"+query, `{"selector":`+selector+`}`)
	var a changesAnswer
	if err := json.Unmarshal([]byte(r.body), &a); err != nil || r.status != 200 {
		db.t.Fatalf("%s: %d %s: %v", selector, r.status, r.body, err)
	}
	var rows []string
	for _, row := range a.Results {
		rows = append(rows, row.ID+" "+row.revs())
	}
	slices.Sort(rows)
	return strings.Join(rows, ", ")
}

// fork loads documents with leaves of each kind.
func (db *database) fork() {
	db.converse([]exchange{{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[
		{"_id":"a","_rev":"2-b","owner":"joe","_revisions":{"start":2,"ids":["b","a"]}},
		{"_id":"a","_rev":"2-a","owner":"ann","_revisions":{"start":2,"ids":["a","a"]}},
		{"_id":"a","_rev":"1-z","owner":"joe","_deleted":true},
		{"_id":"b","_rev":"1-c","_deleted":true},
		{"_id":"c","_rev":"1-d","n":1.0,"_attachments":{"f":{"content_type":"text/plain","data":"YWJj"}}},
		{"_id":"_design/d","_rev":"1-e","owner":"joe"}]}`, 201, `[]`}})
}

func TestSelectorJudgesEachLeaf(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.fork()
		for _, c := range []struct{ query, selector, want string }{
			{"style=all_docs", `{}`, "_design/d 1-e, a 1-z 2-a 2-b, b 1-c, c 1-d"},
			{"style=all_docs", `{"owner":"joe"}`, "_design/d 1-e, a 1-z 2-b"},
			{"style=all_docs", `{"owner":"ann"}`, "a 2-a"},
			{"", `{"owner":"joe"}`, "_design/d 1-e, a 2-b"},
			{"style=main_only", `{"owner":"ann"}`, ""},
			{"style=all_docs", `{"owner":{"$exists":false}}`, "b 1-c, c 1-d"},
			{"style=all_docs", `{"_deleted":true}`, "a 1-z, b 1-c"},
			{"style=all_docs", `{"_deleted":{"$exists":false}}`, "_design/d 1-e, a 2-a 2-b, c 1-d"},
			{"style=all_docs", `{"_rev":{"$gt":"2-a"}}`, "a 2-b"},
			{"style=all_docs", `{"_id":{"$beginsWith":"_design/"}}`, "_design/d 1-e"},
			{"style=all_docs", `{"_attachments.f.length":3,"_attachments.f.stub":true,"n":1}`, "c 1-d"},
			{"style=all_docs", `{"_revisions":{"$exists":true}}`, ""},
			{"style=all_docs", `{"$text":"x"}`, "_design/d 1-e, a 1-z 2-a 2-b, b 1-c, c 1-d"},
		} {
			if got := db.selected(c.query, c.selector); got != c.want {
				t.Errorf("%s %s: %s, want %s", c.query, c.selector, got, c.want)
			}
		}
	})
}

// The winner decides whether a row is deleted and which document it has, also where
// another leaf passed.
func TestSelectedRowsAreAboutTheWinner(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.fork()
		r := db.send("POST", "/_changes?filter=_selector&style=all_docs&include_docs=true", `{"selector":{"_deleted":true}}`)
		var a changesAnswer
		if err := json.Unmarshal([]byte(r.body), &a); err != nil || len(a.Results) != 2 {
			t.Fatalf("%s: %v", r.body, err)
		}
		for _, row := range a.Results {
			want := map[string]string{
				"a": `{"_id":"a","_rev":"2-b","owner":"joe"}`,
				"b": `{"_id":"b","_rev":"1-c","_deleted":true}`,
			}[row.ID]
			db.sameJSON(row.ID, string(row.Doc), want)
			if row.Deleted != (row.ID == "b") {
				t.Errorf("%s: deleted %t", row.ID, row.Deleted)
			}
		}
	})
}

func TestSelectedFeedPassesOverTheRest(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.load(20)
		r := db.send("POST", "/_changes?filter=_selector&limit=2", `{"selector":{"n":{"$in":[3,7,9]}}}`)
		var limited, all changesAnswer
		if err := json.Unmarshal([]byte(r.body), &limited); err != nil || len(limited.Results) != 2 {
			t.Fatalf("limit 2: %s: %v", r.body, err)
		}
		r = db.send("POST", "/_changes?filter=_selector", `{"selector":{"n":{"$gt":50}}}`)
		if err := json.Unmarshal([]byte(r.body), &all); err != nil || len(all.Results) != 0 || *all.Pending != 0 {
			t.Fatalf("no match: %s: %v", r.body, err)
		}
		if !strings.HasPrefix(string(all.LastSeq), `"20-`) {
			t.Errorf("last_seq %s", all.LastSeq)
		}
		for n := range 3 {
			lines := db.send("POST", "/_changes?filter=_selector&feed=continuous&timeout=10", fmt.Sprintf(`{"selector":{"n":%d}}`, n))
			if rows := strings.Count(lines.body, `"changes"`); rows != 1 {
				t.Errorf("continuous: %s", lines.body)
			}
		}
	})
}

func TestSelectorsThatAreRefused(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		bad := func(reason string) string {
			text, _ := json.Marshal(reason)
			return `{"error":"bad_request","reason":` + string(text) + `}`
		}
		post := func(body, reason string) exchange {
			return exchange{"POST", "/_changes?filter=_selector", body, 400, bad(reason)}
		}
		db.converse([]exchange{
			{"GET", "/_changes?filter=_selector", "", 400, bad("Selector must be specified in POST payload")},
			post(`{}`, "Selector error: expected a JSON object"),
			post(`[]`, "Request body must be a JSON object"),
			post(`{"selector":[]}`, "Selector error: expected a JSON object"),
			post(`{"selector":{"a":{"$bad":1}}}`, "Invalid operator: $bad"),
			post(`{"selector":{"a":{"$in":{"x":1}}}}`, "Bad argument for operator $in: {[{<<120>>,1}]}"),
			post(`{"selector":{"$where":1}}`, "Unsupported operator: $where"),
			post(`{"selector":{"$gt":1}}`, "One or more conditions is missing a field name."),
			post(`{"selector":{"a":{"$text":1}}}`, "Invalid field normalization on selector: {[{<<36,100,101,102,97,117,108,116>>,{[{<<36,116,101,120,116>>,1}]}}]}"),
			post(`{"selector":{"a":{"$regex":"("}}}`, "Bad argument for operator $regex: <<40>>"),
			post(`{"selector":{"a":1e400}}`, "invalid UTF-8 JSON"),
		})
		// What cannot be evaluated is a failure once there is a document to evaluate it on.
		db.converse([]exchange{
			{"POST", "/_changes?filter=_selector", `{"selector":{"a..b":1}}`, 200, ""},
			{"PUT", "/a", `{"a":1}`, 201, ""},
			{"POST", "/_changes?filter=_selector", `{"selector":{"a..b":1}}`, 500, ""},
			{"POST", "/_changes?filter=_selector", `{"selector":{"a":{"$mod":[0,1]}}}`, 500, ""},
		})
		r := db.send("POST", "/_changes?filter=_selector", `{"selector":{}}`, "Content-Type", "text/plain")
		if r.status != 415 {
			t.Errorf("text/plain: %d %s", r.status, r.body)
		}
	})
}

func TestDesignDocumentsAndIDsInAllStyles(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.fork()
		show := func(a changesAnswer) string {
			var rows []string
			for _, row := range a.Results {
				rows = append(rows, row.ID+" "+row.revs())
			}
			slices.Sort(rows)
			return strings.Join(rows, ", ")
		}
		for query, want := range map[string]string{
			"filter=_design&style=all_docs":                             "_design/d 1-e",
			"filter=_doc_ids&style=all_docs&doc_ids=[%22a%22,%22x%22]":  "a 1-z 2-a 2-b",
			"filter=_doc_ids&style=main_only&doc_ids=[%22a%22,%22b%22]": "a 2-b, b 1-c",
			"filter=_doc_ids&style=all_docs&doc_ids=[]":                 "",
			"filter=_doc_ids&style=all_docs&doc_ids=[%22_design/d%22]":  "_design/d 1-e",
		} {
			if got := show(db.changes(query)); got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
	})
}
