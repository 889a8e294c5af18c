package queryserver_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"millrace/pkg/queryserver"
)

// designDoc has the functions and modules that the tests of filters use.
func designDoc(t *testing.T, filters map[string]any) []byte {
	t.Helper()
	ddoc, err := json.Marshal(map[string]any{
		"_id": "_design/f", "filters": filters,
		"views": map[string]any{
			"emits": map[string]string{"map": "function(doc){ if (doc.list) emit(doc._id, null) }"},
			"fails": map[string]string{"map": "function(doc){ throw({forbidden: 'x'}) }"},
			"bound": map[string]string{"map": "function(doc){ if (this === (0,eval)('this')) emit(1) }"},
			"seal":  map[string]string{"map": "function(doc){ doc.x = 1; if (doc.x === 1) emit(1) }"},
			"lib":   map[string]string{"l": "exports.v = 1"},
		},
		"lib": map[string]string{
			"a": "exports.x = require('./b').y + 1", "b": "exports.y = 41", "broken": "exports.x = ;",
			"c1": "exports.x = 1; exports.seen = require('./c2').seen", "c2": "exports.seen = require('lib/c1')",
			"m": "module.exports = {id: module.id, up: require('./b').y}", "g": "leak = 1; exports.g = 1",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ddoc
}

func filters(t *testing.T, o queryserver.Options) *queryserver.Filters {
	t.Helper()
	f := queryserver.NewFilters(o)
	t.Cleanup(f.Close)
	return f
}

func compiled(t *testing.T, f *queryserver.Filters, fn queryserver.Function) *queryserver.Filter {
	t.Helper()
	filter, err := f.Compile(fn)
	if err != nil {
		t.Fatal(err)
	}
	return filter
}

const aDoc = `{"_id":"doc","_rev":"4-adfd","list":[1],"big":12345678901234567890123,"f":1.0,"z":0.1000,"_deleted":true,"_revisions":{"start":4,"ids":["adfd"]}}`

// Each of these was asked of CouchDB 3.5.0, with the same outcome.
func TestFilterFunctionsAnswerAsCouchDBs(t *testing.T) {
	for source, want := range map[string]string{
		`function(doc, req){ return true }`:                                                  "true",
		`function(doc, req){ return 1 }`:                                                     "true",
		`function(doc, req){ return 'x' }`:                                                   "true",
		`function(doc, req){ return {} }`:                                                    "true",
		`function(doc, req){ return [] }`:                                                    "true",
		`function(doc, req){ return '' }`:                                                    "false",
		`function(doc, req){ return 0 }`:                                                     "false",
		`function(doc, req){ return NaN }`:                                                   "false",
		`function(doc, req){ return null }`:                                                  "false",
		`function(doc, req){ }`:                                                              "false",
		`(doc, req) => true`:                                                                 "true",
		`function(doc, req){ return true };;`:                                                "true",
		`/* c */ function(doc, req){ return true } // tail`:                                  "true",
		"var h = function(d){return true};\nfunction(doc,req){ return h(doc) }":              "true",
		`function(doc){ return doc._deleted && doc._rev === '4-adfd' && doc._id === 'doc' }`: "true",
		`function(doc){ return doc._revisions.ids.length === 1 }`:                            "true",
		`function(doc){ return doc.big === 12345678901234567890123 && doc.f === 1 }`:         "true",
		`function(doc){ return JSON.stringify(doc).indexOf('"big":1.2345678901234568e+22,"f":1,"z":0.1,') > 0 }`:                                                                                      "true",
		`function(doc){ return [] instanceof Array && !(doc.list instanceof Array) && isArray(doc.list) }`:                                                                                            "true",
		`function(doc){ return sum([1,2,3]) === 6 && sum({a: 1}) === 1 && toJSON([1]) === '[1]' }`:                                                                                                    "true",
		`function(doc){ emit(1, 1); return false }`:                                                                                                                                                   "false",
		`function(doc){ doc._id = 'z'; delete doc._rev; doc.x = 1; return doc.x }`:                                                                                                                    "true",
		`function(doc, req){ return req.query.owner === 'joe' && req.method === 'GET' && req.id === null }`:                                                                                           "true",
		`function(doc, req){ return req.userCtx.name === 'ann' && req.userCtx.roles[0] === 'r' }`:                                                                                                     "true",
		`function(doc){ return this._id === '_design/f' && typeof this.filters.f === 'function' }`:                                                                                                    "true",
		`function(doc){ return require('lib/a').x === 42 }`:                                                                                                                                           "true",
		`function(doc){ return require('views/lib/l').v === 1 }`:                                                                                                                                      "true",
		`function(doc){ return require('lib/m').id === 'lib/m' && require('lib/m').up === 41 && require('lib/m') === require('lib/m') }`:                                                              "true",
		`function(doc){ var a = require('lib/c1'); return JSON.stringify([a.x, a.seen, require('lib/c2')]) === '[1,{},{"seen":{}}]' }`:                                                                "true",
		`function(doc){ require('lib/g'); return typeof leak }`:                                                                                                                                       "true",
		`function(doc){ require('lib/g'); return typeof leak !== 'undefined' }`:                                                                                                                       "false",
		`function(doc){ return [typeof Promise, typeof Proxy, typeof Uint8Array, typeof console, typeof evalcx, typeof newRealm].every(function(t){ return t === 'undefined' }) }`:                    "true",
		`function(doc){ return [typeof BigInt, typeof Map, typeof WeakMap, typeof Symbol, typeof escape, typeof emit, typeof require, typeof getRow].every(function(t){ return t === 'function' }) }`: "true",

		`function(doc, req){ return doc.x.y }`:                            "TypeError: {[]}",
		`function(doc, req){ nosuch() }`:                                  "ReferenceError: {[]}",
		`function(doc, req){ throw({forbidden: 'no'}) }`:                  "unnamed_error: null",
		`function(doc, req){ throw('text') }`:                             "unnamed_error: null",
		`function(doc, req){ throw 5 }`:                                   "unnamed_error: null",
		`function(doc, req){ throw null }`:                                "internal_error: null",
		`function(doc, req){ throw ['error','a','b'] }`:                   "a: b",
		`function(doc, req){ throw ['fatal','a','b'] }`:                   "a: b",
		`function(doc, req){ throw ['a','b'] }`:                           "unnamed_error: null",
		`function(doc, req){ throw {error: 't', reason: {a: [1, 'x']}} }`: `t: {[{<<"a">>,[1,<<"x">>]}]}`,
		`function(doc, req){ return `:                                     "compilation_error: SyntaxError: unexpected token in expression: '' (function(doc, req){ return )",
		`5`:                                                               "compilation_error: Expression does not eval to a function. (5)",
		`async function(doc,req){ return false }`:                         "compilation_error: SyntaxError: function name expected (async function(doc,req){ return false })",
		`function f(doc,req){ return true }`:                              "compilation_error: Expression does not eval to a function. (function f(doc,req){ return true })",
		`function(doc){ return require('lib/nosuch') }`:                   `invalid_require_path: Object has no property "nosuch". {"a":"exports.x = require('./b').y + 1","b":"exports.y = 41","broken":"exports.x = ;","c1":"exports.x = 1; exports.seen = require('./c2').seen","c2":"exports.seen = require('lib/c1')","g":"leak = 1; exports.g = 1","m":"module.exports = {id: module.id, up: require('./b').y}"}`,
		`function(doc){ return require('lib') }`:                          "invalid_require_path: Must require a JavaScript string, not: object",
		`function(doc){ return require('./lib/a') }`:                      "TypeError: {[]}",
		`function(doc){ return require('../lib/a') }`:                     "TypeError: {[]}",
		`function(doc){ return require('lib/broken') }`:                   "compilation_error: Module require('lib/broken') raised error SyntaxError: unexpected token in expression: ';'",
		`function(doc){ var c = {}; c.c = c; log(c); return true }`:       "TypeError: {[]}",
	} {
		t.Run(source, func(t *testing.T) {
			f := filters(t, queryserver.Options{})
			fn := compiled(t, f, queryserver.Function{
				DesignDoc: designDoc(t, map[string]any{"f": source}), Name: "f",
				Request: queryserver.Request{
					Query: []byte(`{"owner":"joe"}`), UserCtx: []byte(`{"db":"d","name":"ann","roles":["r"]}`),
				},
			})
			check(t, fn, want)
		})
	}
}

func check(t *testing.T, fn *queryserver.Filter, want string) {
	t.Helper()
	chosen, err := fn.Match(t.Context(), []byte(aDoc))
	var failed *queryserver.FilterError
	switch {
	case errors.As(err, &failed):
		if got := failed.Name + ": " + failed.Reason; got != want || len(chosen) != 0 || failed.Doc != "doc" {
			t.Errorf("it failed with %s (document %s), not %s", got, failed.Doc, want)
		}
	case err != nil:
		t.Error(err)
	case len(chosen) != 1 || chosen[0] != (want == "true"):
		t.Errorf("it answered %v, not %s", chosen, want)
	}
}

func TestViewsChooseWhatTheyEmitSomethingFor(t *testing.T) {
	for view, want := range map[string]string{
		"emits": "true", "bound": "true", "seal": "true", "fails": "unnamed_error: null",
		"lib": "not_found: missing views function map on design doc _design/f",
	} {
		fn := compiled(t, filters(t, queryserver.Options{}), queryserver.Function{DesignDoc: designDoc(t, nil), View: true, Name: view})
		check(t, fn, want)
	}
	fn := compiled(t, filters(t, queryserver.Options{}), queryserver.Function{DesignDoc: designDoc(t, nil), View: true, Name: "emits"})
	chosen, err := fn.Match(t.Context(), []byte(`{"_id":"a"}`), []byte(aDoc), []byte(`{"_id":"b"}`))
	if err != nil || len(chosen) != 3 || chosen[0] || !chosen[1] || chosen[2] {
		t.Error(chosen, err)
	}
}

func TestWhatIsNoFilterIsRefused(t *testing.T) {
	ddoc := designDoc(t, map[string]any{"f": "function(doc){}", "empty": "", "object": map[string]int{"a": 1}})
	for _, c := range []struct {
		name string
		view bool
		ddoc string
		want string
	}{
		{"nosuch", false, string(ddoc), "not_found: missing json key: nosuch"},
		{"nosuch", true, string(ddoc), "not_found: missing json key: nosuch"},
		{"f", false, `{"_id":"_design/f"}`, "not_found: missing json key: filters"},
		{"f", false, `{"_id":"_design/f","filters":"x"}`, "not_found: json_mismatch"},
		{"f", false, `{"_id":"_design/f","language":"erlang","filters":{"f":"x"}}`, "unknown_query_language: erlang"},
	} {
		_, err := filters(t, queryserver.Options{}).Compile(queryserver.Function{DesignDoc: []byte(c.ddoc), Name: c.name, View: c.view})
		var failed *queryserver.FilterError
		if !errors.As(err, &failed) || failed.Name+": "+failed.Reason != c.want {
			t.Errorf("%v: %v", c, err)
		}
	}
	for name, want := range map[string]string{
		"empty":  "not_found: missing filters function empty on design doc _design/f",
		"object": "compilation_error: SyntaxError: expecting ']' ([object Object])",
	} {
		check(t, compiled(t, filters(t, queryserver.Options{}), queryserver.Function{DesignDoc: ddoc, Name: name}), want)
	}
}

func TestErrorsSayWhichFunctionAndDocument(t *testing.T) {
	ddoc := designDoc(t, map[string]any{"f": "function(doc){ if (doc._id === 'b') return doc.x.y; return true }"})
	fn := compiled(t, filters(t, queryserver.Options{}), queryserver.Function{DesignDoc: ddoc, Name: "f"})
	chosen, err := fn.Match(t.Context(), []byte(`{"_id":"a"}`), []byte(`{"_id":"b"}`), []byte(`{"_id":"c"}`))
	if len(chosen) != 1 || !chosen[0] {
		t.Errorf("the answers before the error are %v", chosen)
	}
	want := `filter function filters.f of _design/f at document "b": TypeError: cannot read property 'y' of undefined`
	if err == nil || err.Error() != want {
		t.Errorf("the error is %v, not %s", err, want)
	}
}

func TestLogGoesToTheOption(t *testing.T) {
	var lines []string
	f := filters(t, queryserver.Options{Log: func(_ *queryserver.Filter, line string) { lines = append(lines, line) }})
	fn := compiled(t, f, queryserver.Function{
		DesignDoc: designDoc(t, map[string]any{"f": "function(doc){ log('a'); log({b: 1}); log(new Error('x')); for (var i = 0; i < 100; i++) log('x'.repeat(1000)); return true }"}),
		Name:      "f",
	})
	check(t, fn, "true")
	if len(lines) < 4 || len(strings.Join(lines, "")) > 5000 || strings.Join(lines[:3], " ") != `a {"b":1} {"error":"Error","message":"x"}` {
		t.Errorf("logged: %.300q", lines)
	}
}

func TestQueryIsWhatTheReplicatorAsksFor(t *testing.T) {
	for params, want := range map[string]string{ // asked of CouchDB 3.5.0
		``: `{}`,
		`{"a":"x y&é😀","n":1,"f":1.5,"t":true,"nul":null,"neg":-3}`:            `{"a":"x y&é😀","n":"1","f":"1.5","t":"true","nul":"null","neg":"-3"}`,
		`{"l":["x","y"],"m":[65,66],"e":[],"n":["x",["y",65]]}`:                `{"l":"xy","m":"AB","e":"","n":"xyA"}`,
		`{"o":{"a":["b",{"c":null}]},"p":{}}`:                                  `{"o":"{[{<<\"a\">>,[<<\"b\">>,{[{<<\"c\">>,null}]}]}]}","p":"{[]}"}`,
		`{"a":1e30,"b":100000.0,"c":1e22,"d":12345678901234567890123,"e":0.1}`: `{"a":"1.0e30","b":"1.0e5","c":"1.0e22","d":"12345678901234567890123","e":"0.1"}`,
		`{"key":"[1,2]","startkey":5,"endkey":"\"x\"","descending":true}`:      `{"key":[1,2],"startkey":5,"endkey":"x","descending":true}`,
		`{"since":"5","feed":"x","style":"y","timeout":"1","dup":"1"}`:         `{"dup":"1"}`,
	} {
		got, err := queryserver.Query("d/f", "all_docs", true, []byte(params)[:len(params):len(params)])
		if params == "" {
			got, err = queryserver.Query("d/f", "all_docs", true, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		var all, expected map[string]any
		if err := errors.Join(json.Unmarshal(got, &all), json.Unmarshal([]byte(want), &expected)); err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"filter": "d/f", "feed": "continuous", "style": "all_docs", "since": "0", "timeout": "10000"} {
			expected[name] = value
		}
		for name, value := range expected {
			if !reflect.DeepEqual(all[name], value) || len(all) != len(expected) {
				t.Errorf("%s: the query is %s; %s is not %q", params, got, name, value)
			}
		}
	}
	for _, params := range []string{`{"l":[1.5]}`, `{"l":[{"a":1}]}`, `{"l":[300]}`, `{"l":[true]}`, `{"l":[200]}`, `[]`, `{"key":"x"}`, `{"startkey":""}`} {
		if got, err := queryserver.Query("d/f", "all_docs", false, []byte(params)); err == nil {
			t.Errorf("%s has the query %s", params, got)
		}
	}
}
