package millpond_test

import (
	"strings"
	"testing"

	"millrace/pkg/millpond"
)

func TestBulkDocsMakesRevisions(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{
			{"PUT", "/a", `{}`, 201, ""},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"a"},{"_id":"b"},{"c":1},{"_id":"b"},{"_id":"e","_deleted":true}]}`, 201,
				`[{"id":"a","error":"conflict","reason":"Document update conflict."},{"ok":true,"id":"b","rev":"1-HASH"},` +
					`{"ok":true,"id":"HASH","rev":"1-HASH"},{"id":"b","error":"conflict","reason":"Document update conflict."},{"ok":true,"id":"e","rev":"1-HASH"}]`},
			{"POST", "/_bulk_docs", `{"docs":[]}`, 201, `[]`},
			{"POST", "/_bulk_docs", `{"docs":5}`, 400, "{\"error\":\"bad_request\",\"reason\":\"`docs` parameter must be an array.\"}"},
			{"POST", "/_bulk_docs", `{}`, 400, "{\"error\":\"bad_request\",\"reason\":\"POST body must include `docs` parameter.\"}"},
			{"POST", "/_bulk_docs", `[]`, 400, `{"error":"bad_request","reason":"Request body must be a JSON object"}`},
			{"POST", "/_bulk_docs", `{"docs":[]`, 400, `{"error":"bad_request","reason":"invalid UTF-8 JSON"}`},
			{"POST", "/_bulk_docs", `{"docs":[],"new_edits":4}`, 400, "{\"error\":\"bad_request\",\"reason\":\"`new_edits` parameter must be a boolean.\"}"},
			{"GET", "/_bulk_docs", "", 405, `{"error":"method_not_allowed","reason":"Only POST allowed"}`},
		})
		if r := db.send("POST", "/_bulk_docs", `{"docs":[]}`, "Content-Type", "text/plain"); r.status != 415 {
			t.Errorf("text/plain: %d %s", r.status, r.body)
		}
	})
}

func TestBulkDocsRefusesAWholeRequest(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		for doc, want := range map[string]string{
			`{"_id":"x"}`:                                                            needsRev,
			`{"_id":"_x","_rev":"1-a"}`:                                              `{"error":"illegal_docid","reason":"Only reserved document ids may start with underscore."}`,
			`{"_id":"","_rev":"1-a"}`:                                                `{"error":"illegal_docid","reason":"Document id must not be empty"}`,
			`{"_id":5,"_rev":"1-a"}`:                                                 `{"error":"illegal_docid","reason":"Document id must be a string"}`,
			`{"_id":"_design/","_rev":"1-a"}`:                                        "{\"error\":\"illegal_docid\",\"reason\":\"Illegal document id `_design/`\"}",
			`{"_id":"x","_rev":"1a"}`:                                                badRev,
			`{"_id":"x","_rev":"1-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"}`:                badRev,
			`{"_id":"x","_rev":"1-a","_foo":1}`:                                      `{"error":"doc_validation","reason":"Bad special document member: _foo"}`,
			`{"_id":"x","_rev":"1-a","_deleted":1}`:                                  `{"error":"doc_validation","reason":"Bad special document member: _deleted"}`,
			`{"_id":"x","_revisions":5}`:                                             `{"error":"doc_validation","reason":"Bad special document member: _revisions"}`,
			`{"_id":"x","_revisions":{"start":"1","ids":[]}}`:                        `{"error":"doc_validation","reason":"_revisions.start isn't an integer."}`,
			`{"_id":"x","_revisions":{"start":1,"ids":4}}`:                           `{"error":"doc_validation","reason":"_revisions.ids isn't a array."}`,
			`{"_id":"x","_revisions":{"start":1,"ids":[4]}}`:                         `{"error":"doc_validation","reason":"RevId isn't a string"}`,
			`{"_id":"x","_rev":"1-a","_attachments":{"_f":{"data":""}}}`:             `{"error":"bad_request","reason":"Attachment name '_f' starts with prohibited character '_'"}`,
			`{"_id":"x","_rev":"1-a","_attachments":{"f":{"stub":true,"revpos":1}}}`: `{"error":"missing_stub","reason":"Invalid attachment stub in x for f"}`,
			`4`: onlyObject,
		} {
			status := 400
			if strings.Contains(want, "missing_stub") {
				status = 412
			}
			db.converse([]exchange{
				{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"good","_rev":"1-a"},` + doc + `]}`, status, want},
			})
		}
	})
}

func TestBulkDocsTakesGzippedRequests(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		r := db.send("POST", "/_bulk_docs", gzipped(t, `{"new_edits":false,"docs":[{"_id":"a","_rev":"1-a"}]}`), "Content-Encoding", "gzip")
		if r.status != 201 {
			t.Errorf("%d %s", r.status, r.body)
		}
		db.converse([]exchange{{"GET", "/a", "", 200, `{"_id":"a","_rev":"1-a"}`}})
	})
}

func TestRevsDiff(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"b","_revisions":{"start":3,"ids":["c","b","a"]}}]}`, 201, `[]`},
			{"POST", "/_revs_diff", `{"b":["3-c","4-x","1-a","2-zz"],"n":["1-x"],"all":[]}`, 200,
				`{"n":{"missing":["1-x"]},"b":{"missing":["2-zz","4-x"],"possible_ancestors":["3-c"]}}`},
			{"POST", "/_revs_diff", `{"b":["3-c"]}`, 200, `{}`},
			{"POST", "/_revs_diff", `{}`, 200, `{}`},
			{"POST", "/_revs_diff", `{"b":["x"]}`, 400, badRev},
			{"POST", "/_revs_diff", `[]`, 400, ""},
			{"POST", "/_missing_revs", `{"b":["3-c","4-x"],"n":["1-x"]}`, 200, `{"missing_revs":{"n":["1-x"],"b":["4-x"]}}`},
		})
	})
}

func TestBulkGet(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		found := `{"ok":{"_id":"b","_rev":"3-c","v":1,"_revisions":{"start":3,"ids":["c","b","a"]}}}`
		fails := func(id, rev, name, reason string) string {
			return `{"id":` + id + `,"docs":[{"error":{"id":` + id + `,"rev":` + rev + `,"error":"` + name + `","reason":"` + reason + `"}}]}`
		}
		db.converse([]exchange{
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"b","_revisions":{"start":3,"ids":["c","b","a"]},"v":1}]}`, 201, `[]`},
			{
				"POST", "/_bulk_get?revs=true&latest=true", `{"docs":[{"id":"b","rev":"2-b"},{"id":"b","rev":"3-c"},{"id":"b"},{"id":"b","rev":"9-b"},` +
					`{"id":"zz"},{"id":"_x","rev":"1-a"},{"rev":"1-a"},{"id":"b","rev":"xx"},4,{"id":"b","atts_since":5}]}`, 200,
				`{"results":[{"id":"b","docs":[` + found + `]},{"id":"b","docs":[` + found + `]},{"id":"b","docs":[` + found + `]},` +
					fails(`"b"`, `"9-b"`, "not_found", "missing") + "," + fails(`"zz"`, `"undefined"`, "not_found", "missing") + "," +
					fails(`"_x"`, "null", "illegal_docid", "Only reserved document ids may start with underscore.") + "," +
					fails("null", "null", "bad_request", "document id missed") + "," + fails(`"b"`, `"xx"`, "bad_request", "Invalid rev format") + "," +
					fails("null", "null", "bad_request", "document must be a JSON object") + "," +
					fails(`"b"`, "5", "bad_request", "att_since value must be array of revs.") + `]}`,
			},
			{"POST", "/_bulk_get", `{"docs":[{"id":"b","rev":"2-b"}]}`, 200, `{"results":[` + fails(`"b"`, `"2-b"`, "not_found", "missing") + `]}`},
			{"POST", "/_bulk_get", `{"docs":[]}`, 200, `{"results":[]}`},
			{"POST", "/_bulk_get", `{"ids":[]}`, 400, `{"error":"bad_request","reason":"Missing JSON list of 'docs'."}`},
			{"POST", "/_bulk_get?rev=1-a", `{"docs":[]}`, 400, `{"error":"bad_request","reason":"\"rev\" query parameter is not acceptable"}`},
		})
	})
}

func TestCompactedAncestorsAreMissing(t *testing.T) {
	db := serve(t, millpond.Options{}).database(t)
	first := db.send("PUT", "/a", `{"x":1}`).revOf(t)
	db.converse([]exchange{
		{"PUT", "/a?rev=" + first, `{"x":2}`, 201, ""},
		{"GET", "/a?rev=" + first, "", 200, ""},
		{"POST", "/_compact", "", 202, `{"ok":true}`},
		{"GET", "/a?rev=" + first, "", 404, missing},
		{"GET", "/a?revs_info=true", "", 200, `{"_id":"a","_rev":"2-HASH","x":2,"_revs_info":[{"rev":"2-HASH","status":"available"},{"rev":"1-HASH","status":"missing"}]}`},
		{"POST", "/_revs_diff", `{"a":["` + first + `"]}`, 200, `{}`},
		{"GET", "/_changes", "", 200, `{"results":[{"seq":"SEQ","id":"a","changes":[{"rev":"2-HASH"}]}],"last_seq":"SEQ","pending":0}`},
	})
}

func TestHistoriesAreStemmedAtTheRevsLimit(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{
			{"PUT", "/_revs_limit", "3", 200, ""},
			{"PUT", "/a?new_edits=false", `{"_revisions":{"start":5,"ids":["e","d","c","b","a"]}}`, 201, ""},
			{"GET", "/a?revs=true", "", 200, `{"_id":"a","_rev":"5-e","_revisions":{"start":5,"ids":["e","d","c"]}}`},
			{"PUT", "/a?new_edits=false", `{"_revisions":{"start":6,"ids":["f","e"]}}`, 201, ""},
			{"GET", "/a?revs=true&conflicts=true", "", 200, `{"_id":"a","_rev":"6-f","_revisions":{"start":6,"ids":["f","e","d"]}}`},
		})
	})
}
