package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
)

// runDemo runs the command to its end, with its temporary files in a directory of the
// test's, and returns its exit code.
func runDemo(ctx context.Context, t *testing.T, out io.Writer, args ...string) int {
	t.Helper()
	cmd := newDemoCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(out)
	cmd.SetErr(out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		t.Logf("the command ended with: %v", exit.err)
		return exit.code
	}
	t.Errorf("an error without an exit code: %v", err)
	return -1
}

// temporary makes an empty directory that of the demo's temporary files.
func temporary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

// running is a demo that runs, and what it prints, line by line as it comes.
type running struct {
	t         *testing.T
	interrupt context.CancelFunc
	code      int // once lines is closed

	mu    sync.Mutex
	part  string
	lines chan string
}

func startDemo(t *testing.T, args ...string) *running {
	t.Helper()
	temporary(t)
	ctx, interrupt := context.WithCancel(context.Background())
	r := &running{t: t, interrupt: interrupt, lines: make(chan string, 1000)}
	go func() {
		defer close(r.lines)
		r.code = runDemo(ctx, t, r, args...)
	}()
	t.Cleanup(func() { r.end() })
	return r
}

// Write takes what the demo prints.
func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	whole := strings.Split(r.part+string(p), "\n")
	r.part = whole[len(whole)-1]
	for _, line := range whole[:len(whole)-1] {
		r.lines <- line
	}
	return len(p), nil
}

// await returns the next line that matches, and its submatches.
func (r *running) await(pattern string) []string {
	r.t.Helper()
	wanted := regexp.MustCompile(pattern)
	for line := range r.lines {
		if found := wanted.FindStringSubmatch(line); found != nil {
			return found
		}
	}
	r.t.Fatalf("the demo ended with %d, and no line like %s", r.code, pattern)
	return nil
}

// end interrupts the demo and returns its exit code.
func (r *running) end() int {
	r.interrupt()
	for range r.lines { // to the end
	}
	return r.code
}

func TestDemoReplicatesVerifiesAndLeavesNothingBehind(t *testing.T) {
	dir := temporary(t)
	var out strings.Builder
	require.Equal(t, exitOK, runDemo(t.Context(), t, &out, "--once", "--docs", "2000"), out.String())
	require.Regexp(t, `source: http://127\.0\.0\.1:\d+/orders, filled in \S+ with 2000 documents`, out.String())
	require.Regexp(t, `[1-9]\d* edited, [1-9]\d* deleted, [1-9]\d* in conflict, .* [1-9]\d* attachments`, out.String())
	require.Regexp(t, `verify: 2000 documents with \d+ leaf revisions are the same`, out.String())
	require.NotContains(t, out.String(), "rejected")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestDemoOfOneDocument(t *testing.T) {
	temporary(t)
	var out strings.Builder
	require.Equal(t, exitOK, runDemo(t.Context(), t, &out, "--once", "--docs", "1"), out.String())
	require.Contains(t, out.String(), "verify: 1 documents")
}

func TestDemoStaysUpAndTellsOfWhatIsAddedUntilInterrupted(t *testing.T) {
	demo := startDemo(t, "--docs", "100")
	source := demo.await(`^source: (\S+),`)[1]
	target := demo.await(`^target: (\S+),`)[1]
	demo.await(`until Ctrl-C`)
	put(t, source, "hello", `{"type":"greeting"}`)
	rev := demo.await(`^replicated hello (\S+): at the target \S+s after`)[1]
	withDB(t, target, func(db *couch.DB) {
		doc, err := db.Get(t.Context(), "hello", nil)
		require.NoError(t, err)
		require.Contains(t, string(doc), rev)
	})
	put(t, source, "hello", fmt.Sprintf(`{"_rev":%q,"_deleted":true}`, rev))
	demo.await(`^replicated hello 2-\S+ \(deleted\): at the target`)
	require.Equal(t, exitOK, demo.end())
}

func TestDemoIsInterruptedBeforeItsEnd(t *testing.T) {
	for _, after := range []string{"source: ", "target: "} { // before the replication, before the verify
		t.Run(after, func(t *testing.T) {
			dir := temporary(t)
			ctx, interrupt := context.WithCancel(t.Context())
			out := writerFunc(func(p []byte) (int, error) {
				if strings.HasPrefix(string(p), after) {
					interrupt()
				}
				return len(p), nil
			})
			require.Equal(t, exitInterrupted, runDemo(ctx, t, out, "--docs", "100"))
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestDemoKeepsTheStreamsWhereItIsTold(t *testing.T) {
	temporary(t)
	dir := t.TempDir()
	require.Equal(t, exitOK, runDemo(t.Context(), t, io.Discard, "--once", "--docs", "10", "--data", dir))
	kept, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, kept, 1)
}

func TestDemoNeedsADocumentAndItsPorts(t *testing.T) {
	temporary(t)
	taken, err := millpond.New(millpond.Options{}).Listen("127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close() //nolint:errcheck // the test has seen what it wants
	port := taken.URL[strings.LastIndex(taken.URL, ":")+1:]

	require.Equal(t, exitUsage, runDemo(t.Context(), t, io.Discard, "--docs", "0"))
	require.Equal(t, exitFailed, runDemo(t.Context(), t, io.Discard, "--target-port", port))
}

func TestDemoSaysWhatDiffers(t *testing.T) {
	p, err := openPonds(0, 0)
	require.NoError(t, err)
	defer p.close() //nolint:errcheck // the test has seen what it wants
	for _, db := range []*couch.DB{p.source, p.target} {
		require.NoError(t, db.Create(t.Context(), nil))
	}
	put(t, p.source.String(), "hello", `{}`)

	var out strings.Builder
	cmd := newDemoCommand()
	cmd.SetContext(t.Context())
	cmd.SetErr(io.Discard)
	err = (&demo{cmd: cmd, out: &out, ponds: p}).verify()
	var exit *exitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, exitDifferent, exit.code)
	require.Contains(t, out.String(), `"hello" missing document`)
}
