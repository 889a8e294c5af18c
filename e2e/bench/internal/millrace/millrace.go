// Package millrace runs the program under measurement and says what it used.
package millrace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"millrace/e2e/bench/internal/procfs"
)

const (
	// watchEvery is how often the memory of the process is looked at. Its peak
	// is kept by the kernel, so only growth in the last moments can be missed.
	watchEvery = 20 * time.Millisecond
	// stopTime is how long an interrupted process may take to end by itself.
	stopTime = 30 * time.Second
)

// Program is a millrace executable.
type Program struct {
	path string
	args []string
	fs   procfs.FS
}

// Find returns the program at path, or of that name in PATH, to be called with
// args behind those of the harness. The error says that there is none.
func Find(path string, args []string, fs procfs.FS) (*Program, error) {
	found, err := exec.LookPath(path)
	if err != nil {
		return nil, fmt.Errorf("find millrace: %w", err)
	}
	if found, err = filepath.Abs(found); err != nil {
		return nil, fmt.Errorf("find millrace: %w", err)
	}
	return &Program{path: found, args: args, fs: fs}, nil
}

// Replicate starts "millrace replicate source target --json", with
// --continuous if so asked. The caller must call [Process.Wait].
func (p *Program) Replicate(ctx context.Context, source, target string, continuous bool) (*Process, error) {
	args := []string{"replicate", source, target, "--json"}
	if continuous {
		args = append(args, "--continuous")
	}
	return p.start(ctx, p.path, append(args, p.args...), nil, secrets(source, target))
}

// ReplicateDocument starts "millrace replicate --document path --json". The secrets of the URLs are those that
// the document has. The caller must call [Process.Wait], and keep the document until then.
func (p *Program) ReplicateDocument(ctx context.Context, path string, urls ...string) (*Process, error) {
	return p.start(ctx, p.path, append([]string{"replicate", "--document", path, "--json"}, p.args...), nil, secrets(urls...))
}

// start starts a program in an empty directory that is also its home, so that no
// state of an earlier run helps or hinders it. When ctx ends it is interrupted, and
// killed if that does not end it. What it writes to its output goes to out, too,
// unless that is nil.
func (p *Program) start(ctx context.Context, path string, args []string, out io.Writer, secrets []string) (*Process, error) {
	name := filepath.Base(path)
	home, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home,
		"XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home, "XDG_STATE_HOME="+home)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTime
	process := &Process{name: name, fs: p.fs, cmd: cmd, home: home, secrets: secrets, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &process.out, &process.out
	if out != nil {
		cmd.Stdout = io.MultiWriter(&process.out, out)
	}
	process.started = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), os.RemoveAll(home))
	}
	process.look() // a short one may be gone before its watcher runs
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		process.watch()
	}()
	go process.reap(watched)
	return process, nil
}

// secrets returns the user information of the URLs, which must not appear in
// what the harness prints (invariant 9).
func secrets(urls ...string) []string {
	var found []string
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.User == nil {
			continue
		}
		found = append(found, u.User.String()+"@")
		if password, ok := u.User.Password(); ok && password != "" {
			found = append(found, password)
		}
	}
	return found
}

// redact replaces secrets in what a process said.
func redact(text string, secrets []string) string {
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}
