package peer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"millrace/e2e/peer"
)

func TestMain(m *testing.M) { peer.Main(m) }

// ask makes a request with a JSON body and returns status and body of the answer.
func ask(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	res := do(t, method, url, strings.NewReader(body), http.Header{"Content-Type": {"application/json"}})
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(got)
}

// do makes a request on a connection of its own; the caller closes the body.
func do(t *testing.T, method, url string, body io.Reader, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestAllServersAnswer(t *testing.T) {
	for _, s := range peer.All(t) {
		if status, body := ask(t, http.MethodGet, s.URL+"/", ""); status != http.StatusOK {
			t.Errorf("%s answered %d %s", s.Name, status, body)
		}
	}
}

func TestAllStartsEachServerOnce(t *testing.T) {
	a, b := peer.All(t), peer.All(t)
	if len(a) != len(b) {
		t.Fatalf("%d servers, then %d", len(a), len(b))
	}
	for i := range a {
		if a[i].URL != b[i].URL {
			t.Errorf("%s moved from %s to %s", a[i].Name, a[i].URL, b[i].URL)
		}
	}
}

func TestNewDBIsEmptyOfItsOwnAndDeletedAfterwards(t *testing.T) {
	for _, s := range peer.All(t) {
		var a, b string
		t.Run(s.Name, func(t *testing.T) {
			a, b = s.NewDB(t), s.NewDB(t)
			if a == b {
				t.Errorf("two databases at %s", a)
			}
			status, body := ask(t, http.MethodGet, a, "")
			var info struct {
				Count *int `json:"doc_count"`
			}
			if err := json.Unmarshal([]byte(body), &info); err != nil || status != http.StatusOK || info.Count == nil || *info.Count != 0 {
				t.Errorf("a new database says %d %s", status, body)
			}
		})
		for _, db := range []string{a, b} {
			if status, _ := ask(t, http.MethodGet, db, ""); status != http.StatusNotFound {
				t.Errorf("%s: a database is left after its test (%d)", s.Name, status)
			}
		}
	}
}

func TestAbsentDBIsNotThereYet(t *testing.T) {
	for _, s := range peer.All(t) {
		db := s.AbsentDB(t)
		if status, _ := ask(t, http.MethodGet, db, ""); status != http.StatusNotFound {
			t.Errorf("%s answered %d", s.Name, status)
		}
		if status, body := ask(t, http.MethodPut, db, ""); status != http.StatusCreated {
			t.Errorf("%s cannot create it: %d %s", s.Name, status, body)
		}
	}
}

func TestPairsAreAllOrderedPairs(t *testing.T) {
	servers, names := peer.All(t), make(map[string]bool)
	for _, p := range peer.Pairs(t) {
		names[p.Name()] = true
	}
	if len(names) != len(servers)*len(servers) {
		t.Errorf("%d pairs of %d servers", len(names), len(servers))
	}
}

func TestLockFileNamesNoHost(t *testing.T) {
	lock, err := os.ReadFile("pouchdb/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"://", `"resolved"`, `"funding"`} {
		if strings.Contains(string(lock), part) {
			t.Errorf("package-lock.json has %s", part)
		}
	}
}
