package millpond_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/pkg/millpond"
	"millrace/pkg/queryserver"
)

// filtered is what a feed with a filter function shows: "id rev rev, id rev".
func (db *database) filtered(query string) string {
	db.t.Helper()
	var rows []string
	for _, row := range db.changes(query).Results {
		rows = append(rows, row.ID+" "+row.revs())
	}
	slices.Sort(rows)
	return strings.Join(rows, ", ")
}

// designFilters writes a design document with filters.
func (db *database) designFilters(filters, views map[string]any) {
	db.t.Helper()
	ddoc, err := json.Marshal(map[string]any{
		"filters": filters, "views": views, "lib": map[string]string{"owner": "module.exports = function(doc){ return doc.owner }"},
	})
	if err != nil {
		db.t.Fatal(err)
	}
	db.converse([]exchange{{"PUT", "/_design/f", string(ddoc), 201, ""}})
}

func TestFilterFunctionsJudgeEachLeaf(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.fork()
		db.designFilters(map[string]any{
			"owner":   "function(doc, req){ return require('lib/owner')(doc) === req.query.owner }",
			"deleted": "function(doc, req){ return doc._deleted }",
			"rev":     "function(doc, req){ return doc._rev === req.query.rev && doc._revisions.start === Number(req.query.rev.split('-')[0]) && doc._revisions.ids.length === 1 }",
			"stub":    "function(doc, req){ return doc._attachments && Object.keys(doc._attachments.f).join() === 'content_type,revpos,digest,length,stub' && doc._attachments.f.length === 3 }",
			"order":   "function(doc, req){ return JSON.stringify(doc).indexOf('{\"_id\":\"a\",\"_rev\":\"1-z\",\"owner\":\"joe\",\"_deleted\":true,\"_revisions\":{\"start\":1,\"ids\":[\"z\"]}}') === 0 }",
			"one":     "function(doc, req){ return 1 }", "none": "function(doc, req){ return '' }",
			"me":        "function(doc, req){ return req.method === 'GET' && req.userCtx.db === req.path[0] && req.path[1] === '_changes' && req.secObj.admins.roles && !req.headers.Authorization }",
			"conflicts": "function(doc, req){ return (doc._conflicts || []).join() === '2-a' }",
			"number":    "function(doc, req){ return doc.n === 1 && req.query.key === 5 && req.query.n === '5' }",
		}, map[string]any{
			"owned": map[string]string{"map": "function(doc){ if (doc.owner === 'joe') emit(null, doc) }"},
			"never": map[string]string{"map": "function(doc){ return true }"},
		})
		for _, c := range []struct{ query, want string }{
			{"style=all_docs&filter=f/owner&owner=joe", "_design/d 1-e, a 1-z 2-b"},
			{"style=all_docs&filter=f/owner&owner=ann", "a 2-a"},
			{"filter=f/owner&owner=joe", "_design/d 1-e, a 2-b"},
			{"style=main_only&filter=f/owner&owner=ann", ""},
			{"style=all_docs&filter=f/deleted", "a 1-z, b 1-c"},
			{"filter=f/deleted", "b 1-c"},
			{"style=all_docs&filter=f/rev&rev=2-a", "a 2-a"},
			{"style=all_docs&filter=f/stub", "c 1-d"},
			{"style=all_docs&filter=f/order", "a 1-z"},
			{"filter=f%2Fnone", ""},
			{"style=all_docs&filter=f/number&key=5&n=5", "c 1-d"},
			{"filter=f/conflicts&conflicts=true", "a 2-b"},
			{"filter=f/conflicts&conflicts=true&style=all_docs", ""},
			{"filter=f/conflicts", ""},
			{"style=all_docs&filter=_view&view=f/owned", "_design/d 1-e, a 1-z 2-b"},
			{"filter=_view&view=f/owned", "_design/d 1-e, a 2-b"},
			{"filter=_view&view=f/never", ""},
		} {
			if got := db.filtered(c.query); got != c.want {
				t.Errorf("%s: %s, want %s", c.query, got, c.want)
			}
		}
		for _, all := range []string{"f/one", "f/me", "/", "//f//one"} {
			if got := len(db.changes("filter=" + url.QueryEscape(all)).Results); got != 5 {
				t.Errorf("%s shows %d of 5", all, got)
			}
		}
	})
}

func TestFilterFunctionsThatCannotBeRun(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.designFilters(map[string]any{
			"type": "function(doc, req){ return doc.x.y }", "thrown": "function(doc, req){ throw({forbidden: 'x'}) }",
			"broken": "function(doc, req){ return", "empty": "",
		}, map[string]any{
			"throws": map[string]string{"map": "function(doc){ throw({error: 'e', reason: 'r'}) }"},
		})
		db.converse([]exchange{{"PUT", "/_design/gone", `{}`, 201, ""}})
		rev := db.send("GET", "/_design/gone", "").revOf(t)
		bad := func(reason string) string { return `{"error":"bad_request","reason":"` + reason + `"}` }
		notFound := func(reason string) string { return `{"error":"not_found","reason":"` + reason + `"}` }
		db.converse([]exchange{
			{"DELETE", "/_design/gone?rev=" + rev, "", 200, ""},
			{"GET", "/_changes?filter=nosuch/x", "", 404, notFound("missing")},
			{"GET", "/_changes?filter=gone/x", "", 404, notFound("deleted")},
			{"GET", "/_changes?filter=f/nosuch", "", 404, notFound("missing json key: nosuch")},
			{"GET", "/_changes?filter=f", "", 400, bad("`filter` must be of the form `designname/filtername`")},
			{"GET", "/_changes?filter=f/a/b", "", 400, bad("`filter` must be of the form `designname/filtername`")},
			{"GET", "/_changes?filter=_view", "", 400, bad("`view` filter parameter is not provided.")},
			{"GET", "/_changes?filter=_view&view=", "", 400, bad("`view` filter parameter is not provided.")},
			{"GET", "/_changes?filter=_view&view=/", "", 400, bad("`view` must be of the form `designname/viewname`")},
			{"GET", "/_changes?filter=_view&view=f/nosuch", "", 404, notFound("missing json key: nosuch")},
			{"GET", "/_changes?filter=_view&view=nosuch/x", "", 404, notFound("missing")},
			{"GET", "/_changes?filter=_view&view=f", "", 500, ""},
			{"GET", "/_changes?filter=_view&view=f/a/b", "", 500, ""},
			{"GET", "/_changes?filter=f/type", "", 500, ""},
			{"GET", "/_changes?filter=f/thrown", "", 500, ""},
			{"GET", "/_changes?filter=f/broken", "", 500, ""},
			{"GET", "/_changes?filter=f/empty", "", 500, ""},
			{"GET", "/_changes?filter=_view&view=f/throws", "", 500, ""},
			{"GET", "/_changes?filter=f/type&since=now", "", 200, ""},
		})
		for query, want := range map[string]string{
			"filter=f/type": `{<<"TypeError">>,`, "filter=f/broken": "compilation_error", "filter=f/empty": "missing filters function empty on design doc _design/f",
			"filter=_view&view=f": "case_clause",
		} {
			if got := db.send("GET", "/_changes?"+query, "").body; !strings.Contains(strings.ReplaceAll(got, `\"`, `"`), want) {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
	})
}

func TestFilterFunctionThatRunsForEver(t *testing.T) {
	pond := serve(t, millpond.Options{Functions: queryserver.Limits{Timeout: 50 * time.Millisecond}})
	db := pond.database(t)
	db.designFilters(map[string]any{"loop": "function(doc){ new Array(4294967295).sort() }"}, map[string]any{})
	if r := db.send("GET", "/_changes?filter=f/loop", ""); r.status != 500 || !strings.Contains(r.body, "OS process timed out.") {
		t.Errorf("the answer is %d %s", r.status, r.body)
	}
}
