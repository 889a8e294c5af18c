package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/pkg/millpond"
)

// ask makes a request with a JSON body, if any, and decodes the answer into v, unless
// it is nil. It returns the status.
func ask(t *testing.T, method, address, body string, v any) int {
	t.Helper()
	contentType := ""
	if body != "" {
		contentType = "application/json"
	}
	return send(t, method, address, contentType, body, v)
}

// send is ask for a body of any type.
func send(t *testing.T, method, address, contentType, body string, v any) int {
	t.Helper()
	// Databases are deleted when the test's own context is over.
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(text, v); err != nil {
			t.Fatalf("%s answered %s %q: %v", method, res.Status, text, err)
		}
	}
	return res.StatusCode
}

// put stores a document, or fails the test.
func put(t *testing.T, db, path, body string) {
	t.Helper()
	var answer json.RawMessage
	if status := ask(t, http.MethodPut, db+path, body, &answer); status != http.StatusCreated && status != http.StatusOK {
		t.Fatalf("PUT %s: %d %s", path, status, answer)
	}
}

// deleteAfterwards deletes databases at the test's end.
func (s scenario) deleteAfterwards(databases ...string) {
	for _, db := range databases {
		s.Cleanup(func() { ask(s.T, http.MethodDelete, db, "", nil) })
	}
}

// leavesOf is which leaves each document of a database has.
func leavesOf(t *testing.T, db, style string) map[string][]string {
	t.Helper()
	var feed struct {
		Results []struct {
			ID      string
			Changes []struct{ Rev string }
		}
	}
	if status := ask(t, http.MethodGet, db+"/_changes?style="+style, "", &feed); status != http.StatusOK {
		t.Fatalf("_changes: %d", status)
	}
	leaves := make(map[string][]string, len(feed.Results))
	for _, row := range feed.Results {
		for _, change := range row.Changes {
			leaves[row.ID] = append(leaves[row.ID], change.Rev)
		}
	}
	return leaves
}

// pond serves a millpond of the test's own, and returns its address without
// credentials.
func pond(t *testing.T, o millpond.Options) (*millpond.Server, string) {
	t.Helper()
	server := millpond.New(o)
	front := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close()
		front.Close()
	})
	return server, front.URL
}

// below serves the server at address under a base path, and returns the address with
// the path and the server's user.
func below(t *testing.T, path, address string) string {
	t.Helper()
	inner, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = inner.Scheme, inner.Host, inner.Host
		},
		Transport: transport, FlushInterval: -1,
	}
	front := httptest.NewServer(http.StripPrefix(path, forward))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		transport.CloseIdleConnections()
	})
	outer, err := url.Parse(front.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	outer.User = inner.User
	return outer.String()
}

// rootRefused is a rule by which nobody may ask the server who it is.
func rootRefused() chaosproxy.Rule {
	return chaosproxy.Rule{Match: chaosproxy.On(chaosproxy.Server), Do: chaosproxy.ServerError(http.StatusForbidden)}
}
