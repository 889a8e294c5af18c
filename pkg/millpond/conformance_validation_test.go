package millpond_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/pkg/millpond"
	"millrace/pkg/queryserver"
)

// design puts a design document with a validation function.
func (db *database) design(name, function string) {
	db.t.Helper()
	source, err := json.Marshal(function)
	if err != nil {
		db.t.Fatal(err)
	}
	path := "/_design/" + name
	if r := db.send("HEAD", path, ""); r.status == 200 {
		path += "?rev=" + strings.Trim(r.header.Get("ETag"), `"`)
	}
	if r := db.send("PUT", path, `{"lib":{"a":"exports.x='required'"},"validate_doc_update":`+string(source)+`}`); r.status != 201 {
		db.t.Fatalf("PUT %s: %d %s", path, r.status, r.body)
	}
}

func TestValidationFunctions(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.design("v", `function(n, o, u, s) {
			switch (n.t) {
			case "f": throw {forbidden: "no f"};
			case "u": throw {unauthorized: "no u"};
			case "x": throw {other: "no x"};
			case "string": throw "a string";
			case "object": throw {forbidden: {a: 1}};
			case "null": throw null;
			case "true": throw true;
			case "error": var e = new Error("boom"); e.a = {b: ["t", 1]}; throw e;
			case "listed": throw ["error", "mine", "because"];
			case "not_found": throw ["error", "not_found", "y"];
			case "bad_request": throw ["error", "bad_request", "y"];
			case "conflict": throw ["error", "conflict", "y"];
			case "type": return null.x;
			case "ref": return nosuch;
			case "require": throw {forbidden: require("lib/a").x};
			case "this": throw {forbidden: [this._id, typeof log, typeof sum, typeof toJSON, typeof isArray].join()};
			case "return": return "bad";
			case "ctx": throw {forbidden: JSON.stringify([u.name, u.roles, u.db.length > 0, s])};
			}
		}`)
		for _, c := range []struct {
			t      string
			status int
			answer string // its members
		}{
			{"f", 403, `"error":"forbidden","reason":"no f"`},
			{"u", 401, `"error":"unauthorized","reason":"no u"`},
			{"x", 500, `"error":"unknown_error","reason":"no x"`},
			{"string", 500, `"error":"unknown_error","reason":"a string"`},
			{"object", 403, `"error":"forbidden","reason":{"a":1}`},
			{"null", 500, `"error":"TypeError","reason":"{[]}"`},
			{"error", 500, `"error":"Error","reason":"{[{<<\"a\">>,{[{<<\"b\">>,[<<\"t\">>,1]}]}}]}"`},
			{"listed", 500, `"error":"mine","reason":"because"`},
			{"not_found", 404, `"error":"not_found","reason":"y"`},
			{"bad_request", 400, `"error":"bad_request","reason":"y"`},
			{"conflict", 409, `"error":"conflict","reason":"Document update conflict."`},
			{"type", 500, `"error":"TypeError","reason":"{[]}"`},
			{"ref", 500, `"error":"ReferenceError","reason":"{[]}"`},
			{"require", 403, `"error":"forbidden","reason":"required"`},
			{"this", 403, `"error":"forbidden","reason":"_design/v,function,function,function,function"`},
			{"ctx", 403, `"error":"forbidden","reason":"[\"adm\",[\"_admin\"],true,{\"members\":{\"roles\":[\"_admin\"]},\"admins\":{\"roles\":[\"_admin\"]}}]"`},
		} {
			db.converse([]exchange{
				{"PUT", "/put", `{"t":"` + c.t + `"}`, c.status, `{` + c.answer + `}`},
				{"POST", "/_bulk_docs", `{"docs":[{"_id":"a","t":"` + c.t + `"},{"_id":"good-` + c.t + `"}]}`, 201,
					`[{"id":"a",` + c.answer + `},{"ok":true,"id":"good-` + c.t + `","rev":"1-HASH"}]`},
				{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_rev":"1-a","t":"` + c.t + `"},{"_id":"too","_rev":"1-a"}]}`, 201,
					`[{"id":"a","rev":"1-a",` + c.answer + `}]`},
				{"PUT", "/put?new_edits=false", `{"_rev":"1-a","t":"` + c.t + `"}`, c.status, `{` + c.answer + `}`},
				{"GET", "/a", "", 404, missing},
			})
		}
		db.converse([]exchange{
			{"PUT", "/true", `{"t":"true"}`, 201, ""},
			{"PUT", "/return", `{"t":"return"}`, 201, ""},
			{"PUT", "/_design/x", `{"t":"f"}`, 201, ""},
			{"PUT", "/_local/x", `{"t":"f"}`, 201, ""},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"_local/y","t":"f"}]}`, 201, `[{"ok":true,"id":"_local/y","rev":"0-1"}]`},
		})
	})
}

// What a function throws that CouchDB has no clause for fails the whole request.
func TestValidationThatCrashesFailsTheRequest(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		for _, thrown := range []string{"5", "{}", `["a","b"]`, "{forbidden:undefined}", "{a:1,forbidden:2}"} {
			db.design("v", `function(n){ if (n.bad) throw `+thrown+` }`)
			for _, send := range [][2]string{
				{"/_bulk_docs", `{"docs":[{"_id":"a","bad":true}]}`},
				{"/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_rev":"1-a","bad":true}]}`},
				{"", `{"_id":"a","bad":true}`},
			} {
				r := db.send("POST", send[0], send[1])
				if r.status != 500 || !strings.HasPrefix(r.body, `{"error":"unknown_error","reason":"function_clause","ref":`) {
					t.Errorf("throw %s: %s %s: %d %s", thrown, send[0], send[1], r.status, r.body)
				}
			}
		}
	})
}

func TestValidationSeesTheOldDocument(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.design("v", `function(n, o) { if (n.d) throw {forbidden: JSON.stringify([n, o])} }`)
		sees := func(method, path, body, want string) {
			t.Helper()
			var answer struct{ Reason string }
			text := db.send(method, path, body).body
			if err := json.Unmarshal([]byte(strings.Trim(text, "[]\n")), &answer); err != nil {
				t.Fatalf("%s %s: %q: %v", path, body, text, err)
			}
			db.sameJSON(path+" "+body, answer.Reason, want)
		}
		rev := db.send("PUT", "/a", `{"a":1,"_attachments":{"f":{"content_type":"text/plain","data":"aGVsbG8="}}}`).revOf(t)
		stub := between(db.send("GET", "/a", "").body, `"f":`, `}`) + "}"
		old := `{"_id":"a","_rev":"1-HASH","a":1,"_revisions":{"start":1,"ids":["HASH"]},"_attachments":{"f":` + stub + `}}`
		sees("PUT", "/a?rev="+rev, `{"d":1,"_attachments":{"f":{"stub":true},"g":{"data":"aGVsbG8="}}}`,
			`[{"_id":"a","_rev":"1-HASH","d":1,"_revisions":{"start":1,"ids":["HASH"]},"_attachments":{"f":`+stub+`,`+
				`"g":{"content_type":"application/octet-stream","revpos":0,"length":5,"stub":true}}},`+old+`]`)
		sees("PUT", "/a?rev="+rev, `{"d":1,"_deleted":true}`,
			`[{"_id":"a","_rev":"1-HASH","d":1,"_deleted":true,"_revisions":{"start":1,"ids":["HASH"]}},`+old+`]`)
		db.converse([]exchange{{"DELETE", "/a?rev=" + rev, "", 200, ""}})
		sees("PUT", "/a", `{"d":1}`, `[{"_id":"a","d":1},null]`)

		db.converse([]exchange{{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"r","_revisions":{"start":3,"ids":["c","b","a"]},"x":3}]}`, 201, `[]`}})
		for doc, want := range map[string]string{
			`{"_id":"r","_revisions":{"start":4,"ids":["dd","c","b","a"]},"d":3}`:                 `{"_id":"r","_rev":"3-c","x":3,"_revisions":{"start":3,"ids":["c","b","a"]}}`,
			`{"_id":"r","_revisions":{"start":5,"ids":["ff","dd","c","b","a"]},"d":3}`:            `{"_id":"r","_rev":"3-c","x":3,"_revisions":{"start":3,"ids":["c","b","a"]}}`,
			`{"_id":"r","_revisions":{"start":4,"ids":["ee","cc","b","a"]},"d":3}`:                `null`,
			`{"_id":"r","_revisions":{"start":1,"ids":["zz"]},"d":3}`:                             `null`,
			`{"_id":"r","_revisions":{"start":4,"ids":["dd","c","b"]},"d":3,"_deleted":true}`:     `{"_id":"r","_rev":"3-c","x":3,"_revisions":{"start":3,"ids":["c","b","a"]}}`,
			`{"_id":"r","_revisions":{"start":4,"ids":["dd"]},"d":3}`:                             `null`,
			`{"_id":"new","_revisions":{"start":2,"ids":["dd","c"]},"_deleted":true,"d":{"e":1}}`: `null`,
		} {
			sees("POST", "/_bulk_docs", `{"new_edits":false,"docs":[`+doc+`]}`,
				`[`+strings.Replace(doc, `"_revisions"`, `"_rev":"`+revOfRevisions(doc)+`","_revisions"`, 1)+`,`+want+`]`)
		}
		// What is known already, or no leaf, is not validated and not stored.
		db.converse([]exchange{
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"r","_revisions":{"start":3,"ids":["c","b","a"]},"d":3}]}`, 201, `[]`},
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"r","_revisions":{"start":2,"ids":["b","a"]},"d":3}]}`, 201, `[]`},
			{"GET", "/r?rev=2-b", "", 404, missing},
		})
	})
}

// revOfRevisions is the revision that a document's _revisions name.
func revOfRevisions(doc string) string {
	return between(doc, `"start":`, ",") + "-" + between(doc, `"ids":["`, `"`)
}

func TestValidationFunctionsOfSeveralDesignDocuments(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.design("b", `function(n){ if (n.x == 1) throw {forbidden: "b"} }`)
		db.design("a", `function(n){ if (n.x < 3) throw {forbidden: "a"} }`)
		db.converse([]exchange{
			{"PUT", "/x", `{"x":1}`, 403, `{"error":"forbidden","reason":"a"}`},
			{"PUT", "/x", `{"x":3}`, 201, ""},
		})
		db.converse([]exchange{{"DELETE", "/_design/a?rev=" + db.send("GET", "/_design/a", "").revOf(t), "", 200, ""}})
		db.converse([]exchange{
			{"PUT", "/y", `{"x":1}`, 403, `{"error":"forbidden","reason":"b"}`},
			{"PUT", "/y", `{"x":2}`, 201, ""},
		})
		db.design("b", `function(n){ if (n.x == 7) throw {forbidden: "changed"} }`)
		db.converse([]exchange{
			{"PUT", "/z", `{"x":7}`, 403, `{"error":"forbidden","reason":"changed"}`},
			{"PUT", "/z", `{"x":1}`, 201, ""},
		})
	})
}

func TestValidationFunctionsThatDoNotCompile(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		for source, want := range map[string]string{
			`function(n{`: `"error":"compilation_error","reason":"SyntaxError: expecting ',' (function(n{)"`,
			`5`:           `"error":"compilation_error","reason":"Expression does not eval to a function. (5)"`,
			`function named(n){ throw {forbidden: 1} }`: `"error":"compilation_error","reason":"Expression does not eval to a function. (function named(n){ throw {forbidden: 1} })"`,
			`function(n){ throw {forbidden: "semi"} };`: `"error":"forbidden","reason":"semi"`,
			`(n) => { throw {forbidden: "arrow"} }`:     `"error":"forbidden","reason":"arrow"`,
			"// c\nfunction(n){ throw {forbidden: 1} }": `"error":"forbidden","reason":1`,
			``: `"error":"not_found","reason":"missing validate_doc_update function validate_doc_update on design doc _design/v"`,
		} {
			db.design("v", source)
			db.converse([]exchange{{"POST", "/_bulk_docs", `{"docs":[{"_id":"a"}]}`, 201, `[{"id":"a",` + want + `}]`}})
		}
	})
}

func TestDesignDocumentsOfWrongForm(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		const reason = "\"error\":\"invalid_design_doc\",\"reason\":\"`validate_doc_update` field must have string type\""
		db.converse([]exchange{
			{"PUT", "/_design/v", `{"validate_doc_update":5}`, 400, `{` + reason + `}`},
			{"PUT", "/_design/v", `{"views":[]}`, 400, "{\"error\":\"invalid_design_doc\",\"reason\":\"`views` field must have object type\"}"},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"_design/v","validate_doc_update":{}},{"_id":"ok"}]}`, 201,
				`[{"id":"_design/v",` + reason + `},{"ok":true,"id":"ok","rev":"1-HASH"}]`},
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"_design/v","_rev":"1-a","validate_doc_update":null}]}`, 201,
				`[{"id":"_design/v","rev":"1-a",` + reason + `}]`},
			{"PUT", "/_design/e", `{"language":"erlang","validate_doc_update":"fun() -> ok"}`, 201, ""},
			{"PUT", "/a", `{}`, 500, `{"error":"unknown_query_language","reason":"erlang"}`},
		})
	})
}

func TestValidationFunctionThatRunsAwayIsEnded(t *testing.T) {
	db := serve(t, millpond.Options{Functions: queryserver.Limits{Timeout: 200 * time.Millisecond}}).database(t)
	db.design("v", `function(n){ while (n.loop); }`)
	db.converse([]exchange{
		{"PUT", "/a", `{"loop":true}`, 500, `{"error":"os_process_error","reason":"OS process timed out."}`},
		{"POST", "/_bulk_docs", `{"docs":[{"_id":"b"},{"_id":"a","loop":true}]}`, 201, fmt.Sprintf(
			`[{"ok":true,"id":"b","rev":"1-HASH"},{"id":"a",%s}]`, `"error":"os_process_error","reason":"OS process timed out."`)},
	})
}
