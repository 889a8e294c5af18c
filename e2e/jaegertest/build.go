// Package jaegertest runs Jaeger for tests: it builds the program once, starts
// it on free ports of the loopback interface with its store in memory, and asks
// its API for the traces that arrived.
package jaegertest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"millrace/e2e/internal/filelock"
)

// program is Jaeger's first generation: built from its module it needs half the
// time and memory of the second, and its settings are flags. Both offer the API
// that is used here.
const program = "github.com/jaegertracing/jaeger/cmd/all-in-one"

// Build returns the path of the Jaeger program. The first call on a machine
// builds it, which takes minutes; it is then kept in the user's cache directory
// until the version (e2e/jaeger/go.mod) or the Go release changes. Calls at the
// same time, from other processes too, wait for the one that builds.
func Build(ctx context.Context) (string, error) {
	source, err := sourceDir(ctx)
	if err != nil {
		return "", err
	}
	path, err := cachePath(source)
	if err != nil {
		return "", err
	}
	if exists(path) {
		return path, nil
	}
	unlock, err := filelock.Lock(ctx, path+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(path) {
		return path, nil
	}
	return path, compile(ctx, source, path)
}

// sourceDir is e2e/jaeger, wherever the test that asks runs.
func sourceDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "millrace/e2e").Output()
	if err != nil {
		return "", fmt.Errorf("find the module millrace/e2e: %w", withOutput(err))
	}
	return filepath.Join(strings.TrimSpace(string(out)), "jaeger"), nil
}

// cachePath names the program after all that decides what it is.
func cachePath(source string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for Jaeger: %w", err)
	}
	hash := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", fmt.Errorf("read Jaeger's version: %w", err)
		}
		hash.Write(content)
	}
	fmt.Fprint(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, program)
	return filepath.Join(cache, "millrace-e2e", fmt.Sprintf("jaeger-%.8x", hash.Sum(nil))), nil
}

// compile leaves nothing at path unless it is whole.
func compile(ctx context.Context, source, path string) error {
	unfinished := path + ".unfinished"
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-buildvcs=false", "-ldflags=-s -w", "-o", unfinished, program)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build Jaeger: %w\n%s", err, out)
	}
	if err := os.Rename(unfinished, path); err != nil {
		return fmt.Errorf("keep the built Jaeger: %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// withOutput adds what a command said to the error that it failed with.
func withOutput(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w\n%s", err, exit.Stderr)
	}
	return err
}
