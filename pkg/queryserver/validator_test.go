package queryserver_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/pkg/queryserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func validator(t *testing.T, source string, limits queryserver.Limits) *queryserver.Validator {
	t.Helper()
	ddoc, err := json.Marshal(map[string]any{
		"_id": "_design/v", "validate_doc_update": source,
		"lib": map[string]string{"a": "exports.x = require('./b').y + 1", "b": "exports.y = 41"},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := queryserver.NewValidator(ddoc, limits)
	t.Cleanup(v.Close)
	return v
}

func call(newDoc string) queryserver.Call {
	return queryserver.Call{
		NewDoc: []byte(newDoc), UserCtx: []byte(`{"name":"joe","roles":[]}`), SecObj: []byte(`{"admins":{}}`),
	}
}

func TestValidatorAnswers(t *testing.T) {
	for source, want := range map[string]string{
		`function(n){}`:                                                             "",
		`(n) => { n.a = 2 }`:                                                        "",
		`(function(n){ return "no" })`:                                              "",
		`function(n){ throw {forbidden: "no"} };`:                                   `forbidden: "no"`,
		`function(n){ throw {unauthorized: "who"} }`:                                `unauthorized: "who"`,
		`function(n){ throw {forbidden: {a: 1}} }`:                                  `forbidden: {"a":1}`,
		`function(n){ throw {other: "x"} }`:                                         `unknown_error: "x"`,
		`function(n){ throw "text" }`:                                               `unknown_error: "text"`,
		`function(n){ throw 5 }`:                                                    `unknown_error: "function_clause"`,
		`function(n){ throw {} }`:                                                   `unknown_error: "function_clause"`,
		`function(n){ throw {a: 1, forbidden: 2} }`:                                 `unknown_error: "function_clause"`,
		`function(n){ throw {forbidden: undefined}}`:                                `unknown_error: "function_clause"`,
		`function(n){ throw ["a", "b"] }`:                                           `unknown_error: "function_clause"`,
		`function(n){ throw ["error", "a", "b"] }`:                                  `a: "b"`,
		`function(n){ throw true }`:                                                 "",
		`function(n){ throw null }`:                                                 `TypeError: "{[]}"`,
		`function(n){ return n.x.y }`:                                               `TypeError: "{[]}"`,
		`function(n){ nosuch() }`:                                                   `ReferenceError: "{[]}"`,
		`function(n){ var e = new Error("x"); e.a = {b: [1, "t", null]}; throw e }`: `Error: "{[{<<\"a\">>,{[{<<\"b\">>,[1,<<\"t\">>,null]}]}}]}"`,
		`function(n{`:                                                               `compilation_error: "SyntaxError: expecting ',' (function(n{)"`,
		`5`:                                                                         `compilation_error: "Expression does not eval to a function. (5)"`,
		``:                                                                          `not_found: "missing validate_doc_update function validate_doc_update on design doc _design/v"`,
		`function(n, o, u, s){ throw {forbidden: [n.a, o, u.name, typeof s.admins, this._id].join()} }`: `forbidden: "1,,joe,object,_design/v"`,
		`function(n){ throw {forbidden: require("lib/a").x} }`:                                          `forbidden: 42`,
		`function(n){ log("x"); throw {forbidden: [isArray([]), sum([1, 2]), toJSON({a: 1})].join()} }`: `forbidden: "true,3,{\"a\":1}"`,
	} {
		got := ""
		if err := validator(t, source, queryserver.Limits{}).Validate(call(`{"a":1}`)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
}

func TestValidatorKeepsNothingOfADocument(t *testing.T) {
	v := validator(t, `function(n, o){ if (n.bad) throw {forbidden: n._id + (o ? o._id : "")}; n.bad = 1 }`, queryserver.Limits{})
	for _, doc := range []string{`{"_id":"a"}`, `{"_id":"a"}`, `{"_id":"\ud83d"}`} {
		if err := v.Validate(call(doc)); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
	c := call(`{"_id":"new","bad":true}`)
	c.OldDoc = []byte(`{"_id":"old"}`)
	if err := v.Validate(c); err == nil || err.Error() != `forbidden: "newold"` {
		t.Errorf("error %v", err)
	}
}

func TestValidatorEndsWhatRunsAway(t *testing.T) {
	for source, want := range map[string]string{
		`function(n){ if (n.bad) for(;;) { try { for(;;); } catch (e) {} } }`:                    "timed out",
		`function(n){ if (n.bad) /(a*)*(?=b)c/.test("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") }`: "timed out",
		`function(n){ function f() { return f() + 1 } if (n.bad) f() }`:                          "stack overflow",
		`function(n){ var a = []; while (n.bad) a.push("x" + a.length) }`:                        "out of memory",
	} {
		limits := queryserver.Limits{Timeout: time.Minute, Memory: 4 << 20}
		if want == "timed out" {
			limits.Timeout = 500 * time.Millisecond
		}
		v := validator(t, source, limits)
		for range 2 {
			var refusal *queryserver.Refusal
			if err := v.Validate(call(`{"bad":true}`)); !errors.As(err, &refusal) || !strings.Contains(string(refusal.Reason), want) {
				t.Errorf("%s: %v, want %s", source, err, want)
			}
			if err := v.Validate(call(`{}`)); err != nil {
				t.Errorf("%s: the next document: %v", source, err)
			}
		}
	}
}

func TestValidatorIsSafeForConcurrentUse(t *testing.T) {
	v := validator(t, `function(n){ if (n.bad) throw {forbidden: "no"} }`, queryserver.Limits{})
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for range 20 {
				if err := v.Validate(call(`{}`)); err != nil {
					t.Error(err)
				}
				if err := v.Validate(call(`{"bad":true}`)); err == nil {
					t.Error("accepted")
				}
			}
		})
	}
	calls.Wait()
	v.Close()
	if err := v.Validate(call(`{}`)); err == nil {
		t.Error("a closed validator accepts")
	}
}
