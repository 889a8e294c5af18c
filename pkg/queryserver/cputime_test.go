//go:build linux

package queryserver

import (
	"encoding/json"
	"runtime"
	"sync"
	"testing"
	"time"
)

func computing(t *testing.T, f *Filters, source string) *Filter {
	t.Helper()
	doc, err := json.Marshal(map[string]any{"_id": "_design/d", "filters": map[string]string{"f": source}})
	if err != nil {
		t.Fatal(err)
	}
	fn, err := f.Compile(Function{DesignDoc: doc, Name: "f", Request: Request{Query: []byte(`{}`), UserCtx: []byte(`{}`), SecObj: []byte(`{}`)}})
	if err != nil {
		t.Fatal(err)
	}
	return fn
}

// What a function takes is its own time, and not that of what else the machine has to do: as many calls at
// once as take fifty times as long each as one alone all end well.
func TestTimeOfACallIsWhatItComputes(t *testing.T) {
	for name, source := range map[string]string{
		"code":                `function(doc){ var n = 0; for (var i = 0; i < 300000; i++) n += i; return n > 0 }`,
		"a function built in": `function(doc){ var s = 'ab'.repeat(20000); return s.indexOf('ab'.repeat(100) + 'c') < 0 }`,
	} {
		t.Run(name, func(t *testing.T) {
			generous := NewFilters(Options{Limits: Limits{Timeout: time.Hour}})
			defer generous.Close()
			alone := func() time.Duration {
				fn := computing(t, generous, source)
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				before, ok := usedTime(threadClock())
				if _, err := fn.Match(t.Context(), []byte(`{"_id":"a"}`)); err != nil {
					t.Fatal(err)
				}
				after, _ := usedTime(threadClock())
				if !ok || after <= before {
					t.Fatalf("%v of processor time before, %v after", before, after)
				}
				return after - before
			}()
			f := NewFilters(Options{Limits: Limits{Timeout: 10 * alone}})
			defer f.Close()
			fn := computing(t, f, source)
			var group sync.WaitGroup
			for range 50 * runtime.GOMAXPROCS(0) {
				group.Go(func() {
					if chosen, err := fn.Match(t.Context(), []byte(`{"_id":"a"}`)); err != nil || !chosen[0] {
						t.Errorf("%v, %v, within %v", chosen, err, 10*alone)
					}
				})
			}
			group.Wait()
		})
	}
}
