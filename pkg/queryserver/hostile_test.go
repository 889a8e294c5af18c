package queryserver_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"millrace/pkg/queryserver"
)

// Whatever a function does, its call ends, and with an error that names it.
func TestHostileFunctionsEnd(t *testing.T) {
	const late = "os_process_error: stopped after 100ms"
	const full = "InternalError: out of memory|null was thrown, as the engine does for want of memory|os_process_error: out of memory"
	f := filters(t, queryserver.Options{Limits: queryserver.Limits{Timeout: time.Minute, Memory: 4 << 20}})
	short := filters(t, queryserver.Options{Limits: queryserver.Limits{Timeout: 100 * time.Millisecond, Memory: 16 << 20}})
	for source, want := range map[string]string{
		`function(doc){ while(true){} }`: late,
		`function(doc){ while(true){ try { while(true){} } catch(e) {} finally { continue } } }`: late,
		`function(doc){ throw {get name(){ while(true){} }} }`:                                   late,
		`function(doc){ throw {name: 'x', toJSON: function(){ while(true){} }} }`:                late,
		`function(doc){ log({toJSON: function(){ while(true){} }}) }`:                            late,
		`function(doc){ while(true) log('x'.repeat(10000)) }`:                                    late,
		`function(doc){ return /^(a+)+$/.test('a'.repeat(50) + 'b') }`:                           late,
		`function(doc){ new Set((function*(){ while(true) yield 1 })()) }`:                       late,
		// What follows runs in built-in functions, which nothing but the end of their memory stops.
		`function(doc){ return Array.prototype.indexOf.call({length: 9007199254740991}, 1) }`:                                           late,
		`function(doc){ return new Array(4294967295).sort() }`:                                                                          late,
		`function(doc){ return new Array(4294967295).join('') }`:                                                                        late,
		`function(doc){ JSON.stringify({}, {length: 4294967295, __proto__: Array.prototype}); return new Array(4294967295).reverse() }`: late,
		`function(doc){ var s = 'ab'.repeat(2000000); return s.indexOf('ab'.repeat(1000000) + 'c') }`:                                   late,
		`function(doc){ var s = 'x'.repeat(4000000), a = new Array(1000).fill(s); while (true) a.includes(s + 'y') }`:                   late,

		`function(doc){ var a = []; while(true) a.push(new Array(1000)) }`:                            full,
		`function(doc){ var a = []; while(true) { try { a.push('x'.repeat(100000)) } catch(e) {} } }`: late,
		`function(doc){ var s = 'xy'; while(true) s += s }`:                                           full + "|InternalError: string too long",
		`function(doc){ return new Array(4294967295).fill(1) }`:                                       full,
		`function(doc){ return [...Array(1e8).keys()] }`:                                              full,
		`function(doc){ return 'x'.padEnd(1e9) }`:                                                     full + "|InternalError: string too long",
		`function(doc){ var f = function(){ f() }; f() }`:                                             "InternalError: stack overflow",
		`function(doc){ var f = function(){ try { f() } catch(e) { f() } }; f() }`:                    late,
		`function(doc){ var o = {get a(){ return this.a }}; return o.a }`:                             "InternalError: stack overflow",
		`function(doc){ var o = {toString: function(){ return '' + this }}; return '' + o }`:          "InternalError: stack overflow",
		`function(doc){ var a = []; a[0] = a; return a.flat(Infinity) }`:                              "InternalError: stack overflow|" + full,
		`function(doc){ return eval('('.repeat(100000)) }`:                                            "SyntaxError: stack overflow|InternalError: stack overflow|" + full,
		`function(doc){ return new RegExp('(?:'.repeat(50000) + ')'.repeat(50000)) }`:                 "SyntaxError: stack overflow|InternalError: stack overflow|" + full,

		`function(doc){ throw undefined }`:                                "os_process_error: TypeError: cannot read property",
		`function(doc){ var e = {name: 'x'}; e.e = e; throw e }`:          "os_process_error: TypeError: circular reference",
		`function(doc){ throw {error: 'x', reason: 'r'.repeat(100000)} }`: "x: rrr",
		`function(doc){ throw ['error', 5, {}] }`:                         "unknown_error: ",
		`function(doc){ throw ['error'] }`:                                "unknown_error: ",
	} {
		t.Run(source, func(t *testing.T) {
			with := f
			if want == late {
				with = short
			}
			fn := compiled(t, with, queryserver.Function{DesignDoc: designDoc(t, map[string]any{"f": source}), Name: "f"})
			chosen, err := fn.Match(t.Context(), []byte(aDoc))
			var failed *queryserver.FilterError
			if !errors.As(err, &failed) || len(chosen) != 0 {
				t.Fatalf("it answered %v, %v", chosen, err)
			}
			if text := err.Error(); len(text) > 2000 || !strings.HasPrefix(text, `filter function filters.f of _design/f at document "doc": `) {
				t.Errorf("the error is %s", text)
			}
			for _, one := range strings.Split(want, "|") {
				if strings.HasPrefix(failed.Message, one) {
					return
				}
			}
			t.Errorf("it ended with %s, and not with %s", failed.Message, want)
		})
	}
	check(t, compiled(t, f, queryserver.Function{DesignDoc: designDoc(t, map[string]any{"f": "function(){ return true }"}), Name: "f"}), "true")
}

// Code can spoil the globals that it shares with the harness for itself, but not the answers.
func TestRedefinedGlobalsChangeNothing(t *testing.T) {
	for _, evil := range []string{
		`JSON.parse = JSON.stringify = function(){ return '1' }`,
		`Array.prototype.push = Object.keys = Function.prototype.apply = Function.prototype.call = null`,
		`var main = Object.getPrototypeOf(doc); main.toJSON = function(){ return 1 }; main.answer = true; main.log = ['x']`,
		`var main = doc.list.constructor.prototype; main.toJSON = main.push = main.slice = main.concat = function(){ throw 1 }`,
		`var main = sum.constructor('return this')(); main.JSON = main.Object = main.Array = main.String = main.Reflect = main.Map = undefined`,
		`var main = sum.constructor('return this')(); main.Map.prototype.get = main.RegExp.prototype.test = main.String.prototype.split = undefined`,
		`RegExp.prototype.exec = RegExp.prototype.test = function(){ return null }; this.filters.g = null; this._module_cache = null`,
	} {
		source := `function(doc){ ` + evil + `; return doc.chosen }`
		fn := compiled(t, filters(t, queryserver.Options{}), queryserver.Function{DesignDoc: designDoc(t, map[string]any{"f": source}), Name: "f"})
		chosen, err := fn.Match(t.Context(), []byte(`{"_id":"a","list":[],"chosen":true}`), []byte(`{"_id":"b","list":[]}`), []byte(`{"_id":"c","list":[],"chosen":1}`))
		if err != nil || len(chosen) != 3 || !chosen[0] || chosen[1] || !chosen[2] {
			t.Errorf("%s: %v, %v", evil, chosen, err)
		}
	}
}

// A caller that has no time any more is not kept by a function that has, and gets what is decided.
func TestTheEndOfTheContextEndsACall(t *testing.T) {
	for _, loop := range []string{`while(true){}`, `new Array(4294967295).sort()`} {
		ctx, cancel := context.WithCancel(t.Context())
		f := filters(t, queryserver.Options{
			Limits: queryserver.Limits{Timeout: time.Hour},
			Log:    func(*queryserver.Filter, string) { cancel() },
		})
		source := `function(doc){ if (doc._id === 'a') log('end'); else ` + loop + `; return true }`
		fn := compiled(t, f, queryserver.Function{DesignDoc: designDoc(t, map[string]any{"f": source}), Name: "f"})
		chosen, err := fn.Match(ctx, []byte(`{"_id":"a"}`), []byte(`{"_id":"b"}`))
		if !errors.Is(err, context.Canceled) || len(chosen) != 1 || !chosen[0] {
			t.Errorf("%s: %v, %v", loop, chosen, err)
		}
		if _, err := fn.Match(ctx, []byte(`{"_id":"a"}`)); !errors.Is(err, context.Canceled) {
			t.Errorf("a later call: %v", err)
		}
	}
}
