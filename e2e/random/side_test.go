package random

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/pkg/millpond"
)

// side is a database of the two, with a proxy that fails before its server.
type side struct {
	name   string // "a" or "b"
	server string // with credentials
	proxy  *chaosproxy.Proxy
	db     string
}

// startPond serves a millpond.
func startPond(t *testing.T) string {
	t.Helper()
	pond := millpond.New(millpond.Options{AdminUser: "adm", AdminPassword: "pass"})
	front := httptest.NewServer(pond)
	t.Cleanup(func() {
		pond.Close()
		front.CloseClientConnections()
		front.Close()
	})
	return strings.Replace(front.URL, "http://", "http://adm:pass@", 1)
}

// realServers are those of MILLRACE_TEST_COUCHDB.
func realServers() []string {
	return strings.FieldsFunc(os.Getenv("MILLRACE_TEST_COUCHDB"), func(r rune) bool { return r == ',' })
}

// newSide puts a failing proxy before a server.
func newSide(t *testing.T, name, server string) *side {
	t.Helper()
	server = strings.TrimSuffix(server, "/")
	_, host, _ := strings.Cut(server, "@")
	proxy, err := chaosproxy.Start("http://"+host, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	return &side{name: name, server: server, proxy: proxy}
}

// direct is the database's URL for the test; via is that for the product.
func (s *side) direct() string { return s.server + "/" + s.db }

func (s *side) via() string {
	u, err := url.Parse(s.server)
	if err != nil {
		panic(err) // it was parsed before
	}
	through, err := url.Parse(s.proxy.URL())
	if err != nil {
		panic(err)
	}
	through.User = u.User
	return through.String() + "/" + s.db
}

var client = &http.Client{Timeout: patience}

// ask makes a request below the database and returns the answer.
func (s *side) ask(t fataler, method, path string, body []byte, header ...string) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequest(method, s.direct()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s on %s: %v", method, path, s.name, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s on %s: %v", method, path, s.name, err)
	}
	return res.StatusCode, answer
}

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// must makes a request that has to succeed.
func (s *side) must(t fataler, method, path string, body []byte) []byte {
	t.Helper()
	status, answer := s.ask(t, method, path, body)
	if status >= http.StatusBadRequest {
		t.Fatalf("%s %s on %s: %d %s", method, path, s.name, status, answer)
	}
	return answer
}

// may makes a request that the database's state may stand against: the document is
// another by now, or is not there.
func (s *side) may(t fataler, method, path string, body []byte, header ...string) (answer []byte, done bool) {
	t.Helper()
	status, answer := s.ask(t, method, path, body, header...)
	switch status {
	case http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed:
		return answer, false
	}
	if status >= http.StatusBadRequest {
		t.Fatalf("%s %s on %s: %d %s", method, path, s.name, status, answer)
	}
	return answer, true
}

// leaf is one leaf of a document.
type leaf struct{ ID, Rev string }

func (l leaf) String() string { return l.ID + " " + l.Rev }

// leaves are all leaves of the database.
func (s *side) leaves(t fataler) map[leaf]bool {
	t.Helper()
	var feed struct {
		Results []struct {
			ID      string
			Changes []struct{ Rev string }
		}
	}
	s.decode(t, s.must(t, http.MethodGet, "/_changes?style=all_docs", nil), &feed)
	found := make(map[leaf]bool)
	for _, row := range feed.Results {
		for _, change := range row.Changes {
			found[leaf{row.ID, change.Rev}] = true
		}
	}
	return found
}

// document is one revision as it is read, as far as the test looks at it.
type document struct {
	Rev         string                    `json:"_rev"`
	Deleted     bool                      `json:"_deleted"`
	Revisions   revisions                 `json:"_revisions"`
	Attachments map[string]map[string]any `json:"_attachments"`
	Refuse      bool                      `json:"refuse"`
	// Owner and N are nil where the document has none.
	Owner *string `json:"owner"`
	N     *int    `json:"n"`
}

type revisions struct {
	Start int      `json:"start"`
	IDs   []string `json:"ids"`
}

// open reads all leaves of a document, in an order that does not depend on the
// server; none if it is not there.
func (s *side) open(t fataler, id string) []document {
	t.Helper()
	answer, there := s.may(t, http.MethodGet, "/"+escape(id)+"?open_revs=all&revs=true", nil)
	if !there {
		return nil
	}
	var rows []struct{ OK *document }
	s.decode(t, answer, &rows)
	var docs []document
	for _, row := range rows {
		if row.OK != nil {
			docs = append(docs, *row.OK)
		}
	}
	slices.SortFunc(docs, func(a, b document) int { return strings.Compare(a.Rev, b.Rev) })
	return docs
}

func (s *side) decode(t fataler, answer []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(answer, into); err != nil {
		t.Fatalf("%s answered %q: %v", s.name, answer, err)
	}
}

// refuses is the validation function that both databases have in the end, since
// design documents are replicated: it refuses where _security says so, which is not.
const refuses = `function (doc, old, user, security) {
	if (security.refuses && doc.refuse && !doc._deleted) throw {forbidden: "refuse is set"};
}`

// create makes the database of a run.
func (s *side) create(t fataler, name string) {
	t.Helper()
	s.db = name
	s.must(t, http.MethodPut, "", nil)
}

// forbid makes the database refuse documents with refuse.
func (s *side) forbid(t fataler) {
	t.Helper()
	s.must(t, http.MethodPut, "/_security", []byte(`{"admins":{},"members":{},"refuses":true}`))
	body, err := json.Marshal(map[string]string{"validate_doc_update": refuses})
	if err != nil {
		t.Fatalf("%v", err)
	}
	s.must(t, http.MethodPut, "/_design/refuses", body)
	s.eventually(t, "the function refuses", func() bool {
		status, _ := s.ask(t, http.MethodPut, "/probe", []byte(`{"refuse":true}`))
		return status == http.StatusForbidden
	})
}

// allow removes the function.
func (s *side) allow(t fataler) {
	t.Helper()
	doc := s.open(t, "_design/refuses")
	if len(doc) != 1 {
		t.Fatalf("the function's document has %d leaves", len(doc))
	}
	s.must(t, http.MethodDelete, "/_design/refuses?rev="+doc[0].Rev, nil)
	s.eventually(t, "the function is gone", func() bool {
		status, _ := s.ask(t, http.MethodPut, "/probe", []byte(`{"refuse":true}`))
		return status == http.StatusCreated
	})
}

// eventually asks again and again until the answer is yes.
func (s *side) eventually(t fataler, what string, ask func() bool) {
	t.Helper()
	s.becomes(t, func() string { return what }, ask)
}

// becomes is eventually for what is said only once it is known.
func (s *side) becomes(t fataler, what func() string, ask func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !ask() {
		select {
		case <-ticker.C:
		case <-limit.C:
			t.Fatalf("in vain on %s: %s", s.name, what())
		}
	}
}

// escape makes an id a segment of a path, in which CouchDB takes "+" for a space; that of a design document is two.
func escape(id string) string {
	if name, ok := strings.CutPrefix(id, "_design/"); ok {
		return "_design/" + escape(name)
	}
	return strings.ReplaceAll(url.PathEscape(id), "+", "%2B")
}
