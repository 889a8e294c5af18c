package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
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
	code, out, _ := runVerify(t.Context(), "--doc-id", "d", p.x, p.y)
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
