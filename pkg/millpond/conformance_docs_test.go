package millpond_test

import (
	"net/url"
	"testing"
)

const (
	conflict   = `{"error":"conflict","reason":"Document update conflict."}`
	missing    = `{"error":"not_found","reason":"missing"}`
	needsRev   = "{\"error\":\"bad_request\",\"reason\":\"When `new_edits: false`, the document needs `_rev` or `_revisions` specified\"}"
	badRev     = `{"error":"bad_request","reason":"Invalid rev format"}`
	onlyObject = `{"error":"bad_request","reason":"Document must be a JSON object"}`
	noDatabase = `{"error":"not_found","reason":"Database does not exist."}`
)

func TestDatabasesAreCreatedAndDeleted(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{
			{"PUT", "", "", 412, `{"error":"file_exists","reason":"The database could not be created, the file already exists."}`},
			{"HEAD", "", "", 200, ""},
			{"PATCH", "", "", 405, ""},
			{"GET", "/_revs_limit", "", 200, `1000`},
			{"PUT", "/_revs_limit", "5", 200, `{"ok":true}`},
			{"GET", "/_revs_limit", "", 200, `5`},
			{"GET", "/_security", "", 200, `{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}`},
			{"PUT", "/_security", `{"members":{"names":["joe"],"roles":[]}}`, 200, `{"ok":true}`},
			{"POST", "/_compact", "", 202, `{"ok":true}`},
			{"DELETE", "", "", 200, `{"ok":true}`},
			{"DELETE", "", "", 404, ""},
			{"GET", "", "", 404, noDatabase},
			{"GET", "/a", "", 404, noDatabase},
			{"POST", "/_bulk_docs", "{}", 404, noDatabase},
		})
	})
}

func TestDatabaseNamesAreChecked(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		for _, name := range []string{"Bad", "1a", "a.b", "_x", "a b", "a%C3%A9"} {
			r := db.sendTo("PUT", "/"+name, "")
			if r.status != 400 || between(r.body, `"error":"`, `"`) != "illegal_database_name" {
				t.Errorf("PUT /%s: %d %s", name, r.status, r.body)
			}
		}
		odd := "/" + db.name + "%2Fa%2Bb$()-_"
		if r := db.sendTo("PUT", odd, ""); r.status != 201 {
			t.Fatalf("PUT %s: %d %s", odd, r.status, r.body)
		}
		if got := between(db.sendTo("GET", odd, "").body, `"db_name":"`, `"`); got != db.name+"/a+b$()-_" {
			t.Errorf("db_name %q", got)
		}
		if r := db.sendTo("DELETE", odd, ""); r.status != 200 {
			t.Errorf("DELETE: %d %s", r.status, r.body)
		}
	})
}

func TestDocumentsAreEdited(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{
			{"GET", "/a", "", 404, missing},
			{"PUT", "/a", `{"_id":"other","x":1}`, 201, `{"ok":true,"id":"a","rev":"1-HASH"}`},
			{"GET", "/a", "", 200, `{"_id":"a","_rev":"1-HASH","x":1}`},
			{"GET", "/a?revs=true&revs_info=true&conflicts=true", "", 200,
				`{"_id":"a","_rev":"1-HASH","x":1,"_revisions":{"start":1,"ids":["HASH"]},"_revs_info":[{"rev":"1-HASH","status":"available"}]}`},
			{"GET", "/a?rev=1-abc", "", 404, missing},
			{"GET", "/a?rev=xx", "", 400, badRev},
			{"PUT", "/a", `{}`, 409, conflict},
			{"PUT", "/a", `{"_rev":"1-abc"}`, 409, conflict},
			{"PUT", "/a?rev=1-a", `{"_rev":"1-b"}`, 400,
				`{"error":"bad_request","reason":"Document rev from request body and query string have different values"}`},
			{"PUT", "/a", `[1]`, 400, onlyObject},
			{"PUT", "/a", `{"a`, 400, `{"error":"bad_request","reason":"invalid UTF-8 JSON"}`},
			{"PUT", "/a", "{\"a\":\"\xff\"}", 400, ""},
			{"PUT", "/a", `{"_foo":1}`, 400, `{"error":"doc_validation","reason":"Bad special document member: _foo"}`},
			{"PUT", "/_x", `{}`, 400, `{"error":"illegal_docid","reason":"Only reserved document ids may start with underscore."}`},
			{"PUT", "/new", `{"_rev":"1-abc"}`, 409, conflict},
			{"POST", "", `{"_id":"posted"}`, 201, `{"ok":true,"id":"posted","rev":"1-HASH"}`},
			{"DELETE", "/a", "", 409, conflict},
			{"DELETE", "/nosuch", "", 404, missing},
			{"PUT", "/_design/d", `{"language":"none"}`, 201, `{"ok":true,"id":"_design/d","rev":"1-HASH"}`},
			{"GET", "/_design/d", "", 200, ""},
			{"PUT", "/x%2Fy%20z", `{}`, 201, `{"ok":true,"id":"x/y z","rev":"1-HASH"}`},
			{"PUT", "/a+b", `{}`, 201, `{"ok":true,"id":"a b","rev":"1-HASH"}`},
			{"PUT", "/a%2Bb", `{}`, 201, `{"ok":true,"id":"a+b","rev":"1-HASH"}`},
		})
		r := db.send("GET", "/a", "")
		if r.header.Get("ETag") != `"`+r.revOf(t)+`"` {
			t.Errorf("ETag %s, document %s", r.header.Get("ETag"), r.body)
		}
		if again := db.send("GET", "/a", "", "If-None-Match", r.header.Get("ETag")); again.status != 304 {
			t.Errorf("If-None-Match: %d", again.status)
		}
	})
}

func TestDeletedDocumentsComeBack(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		first := db.send("PUT", "/a", `{"x":1}`).revOf(t)
		db.converse([]exchange{
			{"DELETE", "/a?rev=" + first, "", 200, `{"ok":true,"id":"a","rev":"2-HASH"}`},
			{"GET", "/a", "", 404, `{"error":"not_found","reason":"deleted"}`},
			{"DELETE", "/a", "", 404, `{"error":"not_found","reason":"deleted"}`},
			{"GET", "/a?deleted=true", "", 200, `{"_id":"a","_rev":"2-HASH","_deleted":true}`},
			{"GET", "/a?rev=" + first, "", 200, `{"_id":"a","_rev":"1-HASH","x":1}`},
			{"PUT", "/a", `{"x":2}`, 201, `{"ok":true,"id":"a","rev":"3-HASH"}`},
			{"GET", "/a?revs_info=true", "", 200, `{"_id":"a","_rev":"3-HASH","x":2,"_revs_info":[{"rev":"3-HASH","status":"available"},` +
				`{"rev":"2-HASH","status":"deleted"},{"rev":"1-HASH","status":"available"}]}`},
			{"PUT", "/tomb", `{"_deleted":true,"why":"moved"}`, 200, `{"ok":true,"id":"tomb","rev":"1-HASH"}`},
			{"GET", "/tomb?deleted=true", "", 200, `{"_id":"tomb","_rev":"1-HASH","why":"moved","_deleted":true}`},
		})
	})
}

func TestReplicatedRevisionsAreMerged(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{
			{"PUT", "/a?new_edits=false", `{"_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]},"v":1}`, 201, `{"ok":true,"id":"a","rev":"2-b"}`},
			{"PUT", "/a?new_edits=false", `{"_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]},"v":2}`, 201, `{"ok":true,"id":"a","rev":"2-b"}`},
			{"GET", "/a?rev=1-a", "", 404, missing},
			{"PUT", "/a?new_edits=false", `{"_rev":"1-a","v":0}`, 201, `{"ok":true,"id":"a","rev":"1-a"}`},
			{"PUT", "/a?new_edits=false", `{"_rev":"2-c","_revisions":{"start":2,"ids":["c","a"]},"v":3}`, 201, ""},
			{"PUT", "/a?new_edits=false", `{"_rev":"9-d","_revisions":{"start":9,"ids":["d"]},"_deleted":true}`, 200, ""},
			{"GET", "/a?revs=true&conflicts=true&deleted_conflicts=true", "", 200,
				`{"_id":"a","_rev":"2-c","v":3,"_revisions":{"start":2,"ids":["c","a"]},"_conflicts":["2-b"],"_deleted_conflicts":["9-d"]}`},
			{"GET", "/a?rev=2-b", "", 200, `{"_id":"a","_rev":"2-b","v":1}`},
			{"GET", "/a?rev=1-a", "", 200, `{"_id":"a","_rev":"1-a","v":0}`},
			{"GET", "/a?rev=2-b&latest=true", "", 200, `{"_id":"a","_rev":"2-c","v":3}`},
			{"PUT", "/a?new_edits=false", `{}`, 400, needsRev},
		})
	})
}

func TestOpenRevs(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		openRevs := func(revs string) string { return "/a?open_revs=" + url.QueryEscape(revs) }
		db.converse([]exchange{
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_revisions":{"start":3,"ids":["c","b","a"]}},{"_id":"a","_revisions":{"start":2,"ids":["d","a"]},"_deleted":true}]}`, 201, `[]`},
			{"GET", openRevs(`["3-c","7-x"]`), "", 200, `[{"ok":{"_id":"a","_rev":"3-c"}},{"missing":"7-x"}]`},
			{"GET", openRevs(`["2-b"]`), "", 200, `[{"missing":"2-b"}]`},
			{"GET", openRevs(`["2-b"]`) + "&latest=true&revs=true", "", 200, `[{"ok":{"_id":"a","_rev":"3-c","_revisions":{"start":3,"ids":["c","b","a"]}}}]`},
			{"GET", openRevs(`["2-d"]`), "", 200, `[{"ok":{"_id":"a","_rev":"2-d","_deleted":true}}]`},
			{"GET", "/nosuch?open_revs=all", "", 404, missing},
			{"GET", "/nosuch?open_revs=" + url.QueryEscape(`["1-a"]`), "", 200, `[{"missing":"1-a"}]`},
			{"GET", openRevs(`["x"]`), "", 400, badRev},
		})
		if r := db.send("GET", "/a?open_revs=all", ""); len(r.body) < 60 {
			t.Errorf("open_revs=all: %s", r.body)
		}
	})
}

func TestLocalDocumentsTakeAnyWrite(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{
			{"GET", "/_local/x", "", 404, missing},
			{"PUT", "/_local/x", `{"a":1}`, 201, `{"ok":true,"id":"_local/x","rev":"0-1"}`},
			{"GET", "/_local/x", "", 200, `{"_id":"_local/x","_rev":"0-1","a":1}`},
			{"GET", "/_local%2Fx", "", 200, `{"_id":"_local/x","_rev":"0-1","a":1}`},
			{"PUT", "/_local/x", `{"a":2}`, 201, `{"ok":true,"id":"_local/x","rev":"0-1"}`},
			{"PUT", "/_local/x", `{"a":3,"_rev":"0-7"}`, 201, `{"ok":true,"id":"_local/x","rev":"0-8"}`},
			{"GET", "/_local_docs", "", 200, `{"total_rows":null,"offset":null,"rows":[{"id":"_local/x","key":"_local/x","value":{"rev":"0-8"}}]}`},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"_local/bulk","x":1}]}`, 201, `[{"ok":true,"id":"_local/bulk","rev":"0-1"}]`},
			{"GET", "/_local/bulk", "", 200, `{"_id":"_local/bulk","_rev":"0-1","x":1}`},
			{"DELETE", "/_local/x?rev=0-2", "", 200, `{"ok":true,"id":"_local/x","rev":"0-0"}`},
			{"DELETE", "/_local/x", "", 404, missing},
			{"GET", "/_local", "", 400, `{"error":"bad_request","reason":"Invalid _local document id."}`},
			{"GET", "/_local/a/b", "", 400, `{"error":"bad_request","reason":"_local documents do not accept attachments."}`},
			{"GET", "/_changes", "", 200, `{"results":[],"last_seq":"SEQ","pending":0}`},
		})
	})
}

func TestAllDocs(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		row := func(id string) string { return `{"id":"` + id + `","key":"` + id + `","value":{"rev":"1-r"}}` }
		db.converse([]exchange{
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"b","_rev":"1-r"},{"_id":"a","_rev":"1-r","x":1},{"_id":"B","_rev":"1-r"},{"_id":"d","_rev":"1-r","_deleted":true},{"_id":"é","_rev":"1-r"}]}`, 201, `[]`},
			{"GET", "/_all_docs", "", 200, `{"total_rows":4,"offset":0,"rows":[` + row("B") + "," + row("a") + "," + row("b") + "," + row("é") + `]}`},
			{"GET", "/_all_docs?limit=1&skip=1&include_docs=true", "", 200,
				`{"total_rows":4,"offset":1,"rows":[{"id":"a","key":"a","value":{"rev":"1-r"},"doc":{"_id":"a","_rev":"1-r","x":1}}]}`},
			{"GET", `/_all_docs?keys=%5B%22a%22,%22zz%22,%22d%22%5D`, "", 200,
				`{"total_rows":4,"offset":null,"rows":[` + row("a") + `,{"key":"zz","error":"not_found"},{"id":"d","key":"d","value":{"rev":"1-r","deleted":true}}]}`},
			{"GET", `/_all_docs?descending=true&startkey=%22b%22&endkey=%22B%22&inclusive_end=false`, "", 200,
				`{"total_rows":4,"offset":1,"rows":[` + row("b") + "," + row("a") + `]}`},
			{"GET", `/_all_docs?startkey=%22a%22&endkey=%22b%22&inclusive_end=false`, "", 200, `{"total_rows":4,"offset":1,"rows":[` + row("a") + `]}`},
			{"GET", `/_all_docs?key=%22a%22`, "", 200, `{"total_rows":4,"offset":1,"rows":[` + row("a") + `]}`},
			{"POST", "/_all_docs", `{"keys":["b","a"]}`, 200, `{"total_rows":4,"offset":null,"rows":[` + row("b") + "," + row("a") + `]}`},
			{"GET", "/_all_docs?limit=x", "", 400, `{"error":"query_parse_error","reason":"Invalid value for integer: \"x\""}`},
		})
	})
}

func TestPurgeForgetsLeaves(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_rev":"1-x"},{"_id":"a","_rev":"1-y"}]}`, 201, `[]`},
			{"POST", "/_purge", `{"a":["1-y","1-z"]}`, 201, `{"purge_seq":null,"purged":{"a":["1-y"]}}`},
			{"GET", "/a?conflicts=true", "", 200, `{"_id":"a","_rev":"1-x"}`},
			{"POST", "/_bulk_get", `{"docs":[{"id":"a","rev":"1-y"}]}`, 200, `{"results":[{"id":"a","docs":[{"error":{"id":"a","rev":"1-y","error":"not_found","reason":"missing"}}]}]}`},
			{"POST", "/_purge", `{"a":["1-x"]}`, 201, `{"purge_seq":null,"purged":{"a":["1-x"]}}`},
			{"GET", "/a", "", 404, missing},
		})
	})
}
