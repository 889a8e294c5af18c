package filter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"millrace/pkg/couch"
	"millrace/pkg/queryserver"
	"millrace/pkg/rawdoc"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a database with one design document, which it shows a while after it was asked.
type source struct {
	mu    sync.Mutex
	code  string
	err   error
	delay time.Duration
	looks atomic.Int64
}

func (s *source) set(code string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.err = code, err
}

func (s *source) Get(ctx context.Context, id string, _ url.Values) ([]byte, error) {
	s.looks.Add(1)
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return json.Marshal(map[string]any{"_id": id, "filters": map[string]string{"f": s.code}})
}

func (s *source) Reader(context.Context) (couch.Reader, error) {
	return couch.Reader{UserCtx: []byte(`{}`), SecObj: []byte(`{}`)}, nil
}

const (
	chooses = `function(doc){ return true }`
	refuses = `function(doc){ return false }`
)

func job(n int, source, code string) *millracev1.Job {
	return &millracev1.Job{
		Id: fmt.Sprint("job", n), Source: &millracev1.EndpointRef{Id: source},
		Filter: &millracev1.JobFilter{Function: "d/f", Code: code},
	}
}

func functions(t *testing.T) *Functions {
	t.Helper()
	f := NewFunctions(queryserver.Options{})
	t.Cleanup(f.Close)
	return f
}

func chosen(t *testing.T, f *Filter) bool {
	t.Helper()
	meta, err := rawdoc.Scan([]byte(aDoc))
	if err != nil {
		t.Fatal(err)
	}
	is, err := f.Match(context.Background(), meta, []byte(aDoc))
	if err != nil {
		t.Fatal(err)
	}
	return is
}

const aDoc = `{"_id":"a","_rev":"1-a"}`

func TestJobsWithTheSameFunctionLookOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := functions(t), &source{code: chooses, delay: time.Second}
		all := func() {
			var group sync.WaitGroup
			for n := range 100 {
				group.Go(func() {
					if _, err := f.Of(t.Context(), job(n, "s", chooses), s); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
		}
		for minutes := range int64(3) {
			all()
			all()
			if n := s.looks.Load(); n != minutes+1 {
				t.Errorf("%d looks within %d minutes", n, minutes+1)
			}
			time.Sleep(believed)
		}
		if _, err := f.Of(t.Context(), job(0, "another source", chooses), s); err != nil || s.looks.Load() != 4 {
			t.Errorf("at another source: %d looks, %v", s.looks.Load(), err)
		}
	})
}

// A job whose id is made of a newer function than was seen last is not ended for that.
func TestNewerFunctionIsLookedForBeforeAJobIsEnded(t *testing.T) {
	f, s := functions(t), &source{code: chooses}
	if _, err := f.Of(t.Context(), job(1, "s", chooses), s); err != nil {
		t.Fatal(err)
	}
	s.set(refuses, nil)
	newer, err := f.Of(t.Context(), job(2, "s", refuses), s)
	if err != nil || chosen(t, newer) {
		t.Fatalf("the newer job: %v", err)
	}
	if older, err := f.Of(t.Context(), job(1, "s", chooses), s); err != nil || !chosen(t, older) {
		t.Errorf("what was seen is not believed: %v", err)
	}
	f.Changed("_design/d")
	if _, err := f.Of(t.Context(), job(1, "s", chooses), s); !errors.Is(err, stage.ErrFilterChanged) {
		t.Errorf("after the change was heard of: %v", err)
	}
}

func TestFailedLookIsNotBelievedAndOneThatIsGivenUpIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := functions(t), &source{code: chooses, delay: time.Second}
		down := errors.New("down")
		s.set(chooses, down)
		if _, err := f.Of(t.Context(), job(1, "s", chooses), s); !errors.Is(err, down) {
			t.Errorf("while it is down: %v", err)
		}
		s.set(chooses, nil)
		ending, end := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := f.Of(ending, job(1, "s", chooses), s); !errors.Is(err, context.Canceled) {
				t.Errorf("who gives up: %v", err)
			}
		})
		synctest.Wait()
		group.Go(func() {
			if _, err := f.Of(t.Context(), job(2, "s", chooses), s); err != nil {
				t.Errorf("who waits: %v", err)
			}
		})
		synctest.Wait()
		end()
		group.Wait()
		if n := s.looks.Load(); n != 3 {
			t.Errorf("%d looks", n)
		}
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	f, s := functions(t), &source{code: chooses}
	for n := range 2 * looksLimit {
		if _, err := f.Of(t.Context(), job(n, fmt.Sprint("s", n), chooses), s); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.looks.seen); n != looksLimit {
		t.Errorf("%d design documents are kept", n)
	}
}
