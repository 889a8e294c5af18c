package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
)

// pair is two databases, x and y, of a server that wants a log-in.
type pair struct {
	x, y string // URLs with credentials
}

func newPair(t *testing.T) pair {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	s := millpond.New(millpond.Options{AdminUser: "adm", AdminPassword: "secret"})
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		web.CloseClientConnections()
		web.Close()
	})
	base := "http://adm:secret@" + strings.TrimPrefix(web.URL, "http://")
	p := pair{x: base + "/x", y: base + "/y"}
	for _, u := range []string{p.x, p.y} {
		withDB(t, u, func(db *couch.DB) { require.NoError(t, db.Create(t.Context(), nil)) })
	}
	return p
}

func withDB(t *testing.T, rawURL string, do func(*couch.DB)) {
	t.Helper()
	ep, err := couch.ParseEndpoint(rawURL)
	require.NoError(t, err)
	db, err := couch.Open(ep, couch.Options{})
	require.NoError(t, err)
	defer db.Close()
	do(db)
}

func put(t *testing.T, rawURL, id, doc string) {
	t.Helper()
	withDB(t, rawURL, func(db *couch.DB) {
		_, err := db.Put(t.Context(), id, []byte(doc), nil)
		require.NoError(t, err)
	})
}

// runVerify runs the command and returns its exit code and what it prints.
func runVerify(ctx context.Context, args ...string) (code int, out, message string) {
	cmd := newVerifyCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	var stdout bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stdout)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return exitOK, stdout.String(), ""
	case !errors.As(err, &exit):
		return exitUsage, stdout.String(), err.Error()
	case exit.err != nil:
		message = exit.err.Error()
	}
	return exit.code, stdout.String(), message
}

func TestVerifyExitCodes(t *testing.T) {
	p := newPair(t)
	code, out, message := runVerify(t.Context(), "--bodies", p.x, p.y)
	require.Equal(t, exitOK, code, message)
	require.Contains(t, out, "the databases are the same")

	put(t, p.x, "only-x", `{}`)
	code, out, message = runVerify(t.Context(), p.x, p.y)
	require.Equal(t, exitDifferent, code)
	require.Empty(t, message, "the report has said it")
	require.Contains(t, out, `"only-x" missing document at B`)

	code, _, message = runVerify(t.Context(), p.x, p.y+"-none")
	require.Equal(t, exitFailed, code)
	require.Contains(t, message, "read database B (")
	require.Contains(t, message, "not_found")

	for _, args := range [][]string{{p.x}, {p.x, "ftp://h/d"}, {p.x, p.y, "--unknown"}} {
		code, _, _ = runVerify(t.Context(), args...)
		require.Equal(t, exitUsage, code, args)
	}
}

func TestVerifyPrintsNoCredential(t *testing.T) {
	p := newPair(t)
	put(t, p.x, "d", `{}`)
	wrong := strings.Replace(p.x, "secret", "wrong-secret", 1)
	for _, args := range [][]string{{p.x, p.y}, {"--json", p.x, p.y}, {p.y, wrong}, {p.x, strings.Replace(p.x, "http", "ftp", 1)}} {
		_, out, message := runVerify(t.Context(), args...)
		require.NotEmpty(t, out+message)
		require.NotContains(t, out+message, "secret")
	}
}

func TestVerifyJSONIsOneObject(t *testing.T) {
	p := newPair(t)
	put(t, p.y, "d", `{}`)
	_, out, _ := runVerify(t.Context(), "--json", p.x, p.y)
	var report struct {
		Same        *bool
		A           map[string]any
		Differences []map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.False(t, *report.Same)
	require.EqualValues(t, 1, report.A["missing_documents"])
	require.Equal(t, "missing_document", report.Differences[0]["kind"])
	require.Equal(t, "A", report.Differences[0]["side"])
}

func TestVerifyQuietPrintsNothing(t *testing.T) {
	p := newPair(t)
	put(t, p.y, "d", `{}`)
	code, out, message := runVerify(t.Context(), "--quiet", p.x, p.y)
	require.Equal(t, exitDifferent, code)
	require.Empty(t, out+message)
}

func TestVerifyOfChosenDocuments(t *testing.T) {
	p := newPair(t)
	put(t, p.x, "d", `{}`)
	put(t, p.x, "_design/d", `{}`)
	put(t, p.y, "d", `{}`)
	code, out, _ := runVerify(t.Context(), "--only", "d", p.x, p.y)
	require.Equal(t, exitOK, code, out)
	code, out, _ = runVerify(t.Context(), "--ignore-design", p.x, p.y)
	require.Equal(t, exitOK, code, out)
	code, out, _ = runVerify(t.Context(), "--show", "0", p.x, p.y)
	require.Equal(t, exitDifferent, code)
	require.NotContains(t, out, "missing document")
}

func TestVerifyIsInterrupted(t *testing.T) {
	p := newPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, _, _ := runVerify(ctx, p.x, p.y)
	require.Equal(t, exitInterrupted, code)
}

func TestProgressLineIsRemovedAtTheEnd(t *testing.T) {
	var out bytes.Buffer
	showProgress(&out, nil)()
	require.Equal(t, "\r\x1b[K", out.String())
}

// fanned are documents of two owners at x, of which y has joe's and z ann's.
func fanned(t *testing.T) (p pair, z string) {
	t.Helper()
	p = newPair(t)
	z = strings.TrimSuffix(p.y, "/y") + "/z"
	withDB(t, z, func(db *couch.DB) { require.NoError(t, db.Create(t.Context(), nil)) })
	for url, owners := range map[string][]string{p.x: {"joe", "ann"}, p.y: {"joe"}, z: {"ann"}} {
		for _, owner := range owners {
			put(t, url, owner+"-1", `{"owner":"`+owner+`"}`)
		}
	}
	put(t, p.x, "_design/d", `{"filters":{"own":"function(doc, req) { return doc.owner == req.query.who; }","bad":"function(doc) { throw 'no'; }"}}`)
	return p, z
}

func TestVerifyOfTargetsThatAreFiltered(t *testing.T) {
	p, z := fanned(t)
	for _, args := range [][]string{
		{"--selector", `{"owner":"joe"}`}, {"--filter", "d/own", "--query-param", "who=joe"}, {"--doc-id", "joe-1"}, {"--doc-ids", "joe-1", "--skip-deletes"},
	} {
		code, out, message := runVerify(t.Context(), append(args, p.x, p.y)...)
		require.Equal(t, exitOK, code, out+message)
		require.Contains(t, out, "the target holds what the filter chooses")
		code, out, _ = runVerify(t.Context(), append(args, p.x, z)...)
		require.Equal(t, exitDifferent, code, out)
		require.Contains(t, out, `"joe-1" missing document at B`)
		require.Contains(t, out, `"ann-1" unchosen at B`)
		require.Contains(t, out, "has 1 leaves that the filter refuses")
	}
	code, _, message := runVerify(t.Context(), "--filter", "d/bad", p.x, p.y)
	require.Equal(t, exitFailed, code)
	require.Contains(t, message, "filters.bad of _design/d")
	code, _, message = runVerify(t.Context(), "--filter", "d/none", p.x, p.y)
	require.Equal(t, exitFailed, code)
	require.Contains(t, message, "missing json key: none")
	code, _, message = runVerify(t.Context(), "--selector", `{"$no":1}`, p.x, p.y)
	require.Equal(t, exitUsage, code, message)
}

func TestVerifyOfADocumentWithTargets(t *testing.T) {
	p, z := fanned(t)
	document := func(more string) string {
		path := filepath.Join(t.TempDir(), "fanout.json")
		text := fmt.Sprintf(`{"source":%q,"continuous":true,"create_target":true,"targets":[{"target":%q,"selector":{"owner":"joe"}},
			{"target":%q,"filter":"d/own","query_params":{"who":"ann"}}%s]}`, p.x, p.y, z, more)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	code, out, message := runVerify(t.Context(), "--bodies", "--document", document(""))
	require.Equal(t, exitOK, code, out+message)
	require.Contains(t, out, "2 targets: 2 hold what they should, 0 differ, 0 could not be verified")

	code, out, _ = runVerify(t.Context(), "--document", document(fmt.Sprintf(`,{"target":%q,"selector":{"owner":"ann"}}`, p.y)))
	require.Equal(t, exitDifferent, code)
	require.Contains(t, out, `"joe-1" unchosen at B`)
	require.Contains(t, out, "3 targets: 2 hold what they should, 1 differ, 0 could not be verified")

	code, out, message = runVerify(t.Context(), "--json", "--document", document(fmt.Sprintf(`,{"target":"%s-none"},{"target":%q,"filter":"d/bad"},%q`, z, z, z)))
	require.Equal(t, exitFailed, code)
	require.Equal(t, "2 of 5 targets could not be verified", message)
	require.NotContains(t, out+message, "secret")
	var lines []map[string]any
	for line := range strings.Lines(out) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object), line)
		lines = append(lines, object)
	}
	require.Len(t, lines, 6)
	require.Equal(t, true, lines[0]["filtered"])
	require.Contains(t, lines[2]["error"], "not_found")
	require.Contains(t, lines[3]["error"], "filters.bad")
	require.Equal(t, false, lines[4]["same"])
	require.Equal(t, map[string]any{"type": "total", "targets": 5., "same": 2., "differ": 1., "failed": 2., "left_documents": 0.}, lines[5])

	// What joe had becomes ann's: it is not taken from him.
	withDB(t, p.x, func(db *couch.DB) {
		doc, err := db.Get(t.Context(), "joe-1", nil)
		require.NoError(t, err)
		_, err = db.Put(t.Context(), "joe-1", bytes.Replace(doc, []byte(`"owner":"joe"`), []byte(`"owner":"sue"`), 1), nil)
		require.NoError(t, err)
	})
	code, out, message = runVerify(t.Context(), "--document", document(""))
	require.Equal(t, exitOK, code, out+message)
	require.Contains(t, out, `"joe-1" left filter at B [1-`)
	require.Contains(t, out, "1 documents have left a filter, and stay as they were\n")

	code, out, message = runVerify(t.Context(), "-q", "--document", document(fmt.Sprintf(",%q", z)))
	require.Equal(t, exitDifferent, code)
	require.Empty(t, out+message)
}

func TestVerifyRefusesWhatItCannotTell(t *testing.T) {
	path := filepath.Join(t.TempDir(), "since.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"source":"http://h/a","target":"http://h/b","since_seq":"3"}`), 0o600))
	code, _, message := runVerify(t.Context(), "--document", path)
	require.Equal(t, exitUsage, code)
	require.Contains(t, message, "since_seq")
	code, _, message = runVerify(t.Context(), "--document", path, "http://h/a")
	require.Equal(t, exitUsage, code)
	require.Contains(t, message, "expected A and B, got 1 arguments")
}
