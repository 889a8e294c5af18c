package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/pkg/millpond"
)

// server is a database server in the test's process, which is not killed, with a
// witness before it and a proxy before both.
type server struct {
	*witness
	// url is the server itself, for the test; proxy is where the product goes.
	url   string
	pond  *millpond.Server
	proxy *chaosproxy.Proxy
}

// startServer starts a server. It is stopped when the test ends.
func startServer(t *testing.T, o millpond.Options) *server {
	t.Helper()
	pond := millpond.New(o)
	s := &server{witness: newWitness(pond), pond: pond}
	http := httptest.NewServer(s.witness)
	t.Cleanup(func() {
		pond.Close()
		http.CloseClientConnections()
		http.Close()
	})
	s.url = http.URL
	var err error
	if s.proxy, err = chaosproxy.Start(http.URL, seed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// slow makes each request of a kind take about d, so that a replication lasts long
// enough for something to happen to it.
func (s *server) slow(t *testing.T, kind chaosproxy.Endpoint, d time.Duration) {
	t.Helper()
	t.Cleanup(s.pond.Inject(millpond.Fault{
		Match: func(r *http.Request) bool { return chaosproxy.Classify(r) == kind },
		Delay: d,
	}))
}

// create makes a database.
func (s *server) create(t *testing.T, name string) {
	t.Helper()
	s.must(t, http.MethodPut, "/"+name, nil)
}

// recreate deletes a database and makes it again, with nothing between the two.
func (s *server) recreate(t *testing.T, name string) {
	t.Helper()
	s.between(func() {
		for _, method := range []string{http.MethodDelete, http.MethodPut} {
			answer := httptest.NewRecorder()
			s.pond.ServeHTTP(answer, httptest.NewRequest(method, "/"+name, nil))
			if answer.Code >= http.StatusBadRequest {
				t.Errorf("%s %s: %d", method, name, answer.Code)
			}
		}
	})
}

// direct is the URL of a database for the test, via is the one for the product.
func (s *server) direct(name string) string { return s.url + "/" + name }

func (s *server) via(name string) string { return s.proxy.URL() + "/" + name }

// must sends a request that has to succeed and returns the answer.
func (s *server) must(t *testing.T, method, path string, body []byte) []byte {
	t.Helper()
	answer, status, err := s.send(t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	if status >= http.StatusBadRequest {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

func (s *server) send(ctx context.Context, method, path string, body []byte) ([]byte, int, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	return answer, res.StatusCode, err
}

// leaves are the leaf revisions of the documents that changed after a seq, which is
// raw JSON; nil for all.
func (s *server) leaves(t *testing.T, database string, since json.RawMessage) map[leaf]bool {
	t.Helper()
	query := url.Values{"style": {"all_docs"}}
	if since != nil {
		query.Set("since", string(since))
	}
	var changes struct {
		Results []struct {
			ID      string
			Changes []struct{ Rev string }
		}
	}
	answer := s.must(t, http.MethodGet, fmt.Sprintf("/%s/_changes?%s", database, query.Encode()), nil)
	if err := json.Unmarshal(answer, &changes); err != nil {
		t.Fatal(err)
	}
	leaves := make(map[leaf]bool)
	for _, row := range changes.Results {
		for _, c := range row.Changes {
			leaves[leaf{row.ID, c.Rev}] = true
		}
	}
	return leaves
}
