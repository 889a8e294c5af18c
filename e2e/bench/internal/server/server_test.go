package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// serve returns the server that answers with handler, and with credentials.
func serve(t *testing.T, handler http.HandlerFunc) *Server {
	t.Helper()
	hs := httptest.NewServer(handler)
	t.Cleanup(hs.Close)
	s, err := Open(strings.Replace(hs.URL, "http://", "http://joe:s3cret@", 1) + "/couch/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// answer is a handler that says the same every time.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestOpenRefusesWhatIsNoServer(t *testing.T) {
	for _, raw := range []string{"", "127.0.0.1:5984", "ftp://host/", "http://", "http://a b/"} {
		if s, err := Open(raw); err == nil {
			t.Errorf("%q is %v", raw, s.URL())
		}
	}
}

func TestErrorsAndURLHoldNoPassword(t *testing.T) {
	s := serve(t, answer(500, "boom"))
	if strings.Contains(s.URL().String(), "s3cret") {
		t.Errorf("in the URL %s", s.URL())
	}
	_, err := s.Welcome(t.Context())
	var status *StatusError
	if !errors.As(err, &status) || status.Status != 500 || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
	_, err = Open("ftp://joe:s3cret@host/")
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
	s = serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if _, err = s.Welcome(t.Context()); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}

func TestDatabaseIsMadeUsedAndDroppedBelowTheBasePath(t *testing.T) {
	var requests []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "joe" || password != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		requests = append(requests, r.Method+" "+r.URL.EscapedPath())
		io.WriteString(w, `{"doc_count":3}`)
	})
	db, err := s.Fresh(t.Context(), "source")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := db.Count(t.Context()); n != 3 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
	if err := db.Put(t.Context(), "a/b", []byte("{}")); err != nil {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Drop(cancelled); err != nil {
		t.Errorf("drop after an interrupt: %v", err)
	}
	path := "/couch/" + db.name
	want := []string{"PUT " + path, "GET " + path, "PUT " + path + "/a%2Fb", "DELETE " + path}
	if got := strings.Join(requests, ", "); got != strings.Join(want, ", ") {
		t.Errorf("got %s, want %v", got, want)
	}
	if want := s.base.Host + path; db.URL() != "http://joe:s3cret@"+want {
		t.Error("the database's URL lacks something")
	}
}

func TestReplicatorIsFoundByItsComplaint(t *testing.T) {
	for _, c := range []struct {
		name        string
		status      int
		none, fails bool
	}{
		{"CouchDB complains about the missing source", 500, false, false},
		{"PouchDB complains about the missing source", 400, false, false},
		{"a server without one", 404, true, true},
		{"a server that forbids POST", 405, true, true},
		{"a server that knows of it", 501, true, true},
		{"a user who may not", 403, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := serve(t, answer(c.status, "{}")).HasReplicator(t.Context())
			if errors.Is(err, ErrNoReplicator) != c.none || (err != nil) != c.fails {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDatabaseWhoseMakingWasInterruptedIsDropped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var requests []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r.Method)
		if r.Method == http.MethodPut {
			cancel()
		}
	})
	if _, err := s.Fresh(ctx, "source"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(requests, " "); got != "PUT DELETE" {
		t.Errorf("got %s", got)
	}
}

func TestReplicationNobodyWaitsForIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan string, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"cancel":true`) {
			cancel()
			<-r.Context().Done()
			return
		}
		cancelled <- string(body)
		w.WriteHeader(http.StatusNotFound) // it was over by then
	})
	db := &Database{server: s, name: "a"}
	err := s.Replicate(ctx, db, db, nil)
	var status *StatusError
	if !errors.Is(err, context.Canceled) || errors.As(err, &status) {
		t.Errorf("got %v", err)
	}
	if body := <-cancelled; strings.Contains(body, "continuous") {
		t.Errorf("cancelled another one: %s", body)
	}
}

func TestReplicationThatIsNotOKIsAnError(t *testing.T) {
	s := serve(t, answer(200, `{"ok":false}`))
	db := &Database{server: s, name: "a"}
	if err := s.Replicate(t.Context(), db, db, nil); err == nil {
		t.Error("no error")
	}
}

func TestRefusedDocumentIsAnError(t *testing.T) {
	db := &Database{server: serve(t, answer(201, `[{"id":"a"},{"id":"b","error":"forbidden","reason":"no"}]`)), name: "a"}
	if err := db.WriteBulk(t.Context(), []byte("{}")); err == nil || !strings.Contains(err.Error(), "b: forbidden: no") {
		t.Errorf("got %v", err)
	}
}

func TestReadReturnsTheDocumentAsItCame(t *testing.T) {
	db := &Database{server: serve(t, answer(200, `{"results":[{"id":"a","docs":[{"ok":{"_id":"a", "n":1e400}}]}]}`)), name: "a"}
	doc, err := db.Read(t.Context(), "a", "1-x")
	if err != nil || string(doc) != `{"_id":"a", "n":1e400}` {
		t.Errorf("got %s, %v", doc, err)
	}
	db = &Database{server: serve(t, answer(200, `{"results":[{"id":"a","docs":[{"error":{"error":"not_found"}}]}]}`)), name: "a"}
	if doc, err := db.Read(t.Context(), "a", "1-x"); err == nil {
		t.Errorf("got %s", doc)
	}
}

func TestFollowHandsOverRowsUntilTheFeedEnds(t *testing.T) {
	for _, c := range []struct {
		name, feed, want string
		err              error
	}{
		{"closed by its last line", "\n{\"seq\":1,\"id\":\"a\",\"changes\":[{\"rev\":\"1-x\"},{\"rev\":\"1-w\"}]}\n\n" +
			"{\"seq\":2,\"id\":\"b\",\"changes\":[{\"rev\":\"2-y\"}],\"deleted\":true}\n{\"last_seq\":2}\n", "a@1-x b@2-y ", errFeedEnded},
		{"closed without it", "{\"seq\":1,\"id\":\"a\",\"changes\":[{\"rev\":\"1-x\"}]}\n", "a@1-x ", errFeedEnded},
		{"cut in a row", "{\"seq\":1,\"id\":\"a\",\"chan", "", errFeedEnded},
		{"garbage", "{]\n", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := &Database{server: serve(t, answer(200, c.feed)), name: "a"}
			got := ""
			err := db.Follow(t.Context(), func(row Row) error {
				if row.At.IsZero() {
					t.Error("no time")
				}
				got += row.ID + "@" + row.Rev + " "
				return nil
			})
			if got != c.want || err == nil || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestFollowEndsWithItsReader(t *testing.T) {
	enough := errors.New("enough")
	db := &Database{server: serve(t, answer(200, `{"id":"a","changes":[{"rev":"1-x"}]}`+"\n")), name: "a"}
	if err := db.Follow(t.Context(), func(Row) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

func FuzzRow(f *testing.F) {
	f.Add([]byte(`{"seq":1,"id":"a","changes":[{"rev":"1-x"}]}`))
	f.Add([]byte(`{"last_seq":2,"pending":0}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		_, _ = parseRow(line) // must not panic
	})
}
