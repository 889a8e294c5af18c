package queryserver_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"millrace/pkg/queryserver"
)

const counting = `var n = 0; (function(doc, req){ n++; if (doc.fail) throw n; log(String(n)); return true })`

// counted calls a function that counts its calls, and returns how many its engine saw.
func counted(t *testing.T, f *queryserver.Filters, lines *[]string, scope, doc string) string {
	t.Helper()
	fn := compiled(t, f, queryserver.Function{Scope: scope, DesignDoc: designDoc(t, map[string]any{"f": counting}), Name: "f"})
	*lines = nil
	if _, err := fn.Match(t.Context(), []byte(doc)); err != nil {
		return err.Error()
	}
	return (*lines)[0]
}

// As in CouchDB a function may find what the call before left behind; not in another scope, nor
// after an error.
func TestEnginesAreKept(t *testing.T) {
	var lines []string
	f := filters(t, queryserver.Options{Log: func(_ *queryserver.Filter, line string) { lines = append(lines, line) }})
	for i, c := range []struct{ scope, doc, want string }{
		{"a", `{}`, "1"}, {"a", `{}`, "2"}, {"b", `{}`, "1"}, {"a", `{}`, "3"},
		{"a", `{"_id":"x","fail":1}`, `filter function filters.f of _design/f at document "x": unnamed_error: null`},
		{"a", `{}`, "1"}, {"b", `{}`, "2"},
	} {
		if got := counted(t, f, &lines, c.scope, c.doc); got != c.want && c.doc == `{}` {
			t.Errorf("call %d saw %s, not %s", i, got, c.want)
		}
	}
}

func TestIdleEnginesAreFew(t *testing.T) {
	var lines []string
	f := filters(t, queryserver.Options{MaxIdle: 2, Log: func(_ *queryserver.Filter, line string) { lines = append(lines, line) }})
	for _, scope := range []string{"a", "b", "c"} {
		counted(t, f, &lines, scope, `{}`)
	}
	if b, c, a := counted(t, f, &lines, "b", `{}`), counted(t, f, &lines, "c", `{}`), counted(t, f, &lines, "a", `{}`); b+c+a != "221" {
		t.Errorf("the engines saw %s, %s and %s calls", b, c, a)
	}
}

func TestIdleEnginesAreReleased(t *testing.T) {
	var lines []string
	f := filters(t, queryserver.Options{Idle: time.Nanosecond, Log: func(_ *queryserver.Filter, line string) { lines = append(lines, line) }})
	deadline := time.Now().Add(time.Minute)
	for counted(t, f, &lines, "a", `{}`); counted(t, f, &lines, "a", `{}`) != "1"; {
		if time.Now().After(deadline) {
			t.Fatal("the engine is still there")
		}
	}
}

func TestOneFilterInManyGoroutines(t *testing.T) {
	f := filters(t, queryserver.Options{})
	fn := compiled(t, f, queryserver.Function{
		DesignDoc: designDoc(t, map[string]any{"f": "function(doc, req){ return doc.n === Number(req.query.n) }"}), Name: "f",
		Request: queryserver.Request{Query: []byte(`{"n":"3"}`)},
	})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := range 20 {
				chosen, err := fn.Match(t.Context(), fmt.Appendf(nil, `{"_id":"d","n":%d}`, n))
				if err != nil || chosen[0] != (n == 3) {
					t.Errorf("%d: %v, %v", n, chosen, err)
				}
			}
		})
	}
	group.Wait()
}

func TestNothingRunsAfterClose(t *testing.T) {
	f := queryserver.NewFilters(queryserver.Options{})
	fn := compiled(t, f, queryserver.Function{DesignDoc: designDoc(t, map[string]any{"f": "function(doc){ return true }"}), Name: "f"})
	check(t, fn, "true")
	f.Close()
	f.Close()
	var failed *queryserver.FilterError
	if _, err := fn.Match(t.Context(), []byte(`{}`)); !errors.As(err, &failed) || failed.Reason != queryserver.ErrClosed.Error() {
		t.Error(err)
	}
}
