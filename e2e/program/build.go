// Package program builds the product's programs and runs them as real processes,
// for black-box tests: what a test sees is what a person at a terminal sees.
//
//	r := program.Replicate(t, source, target)         // millrace replicate, all in one process
//	c := program.StartCluster(t, program.ClusterOptions{}) // a broker and every service, a process each
//	r := c.Replicate(source, target)
//
// Processes are killed when their test ends; their output is printed if it failed.
// No process inherits settings or credentials from the test's environment.
package program

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"millrace/e2e/internal/filelock"
)

// The product's programs.
const (
	Millrace      = "millrace"
	ChangesReader = "changes-reader"
	Selector      = "selector"
	RevsDiff      = "revs-diff"
	DocFetcher    = "doc-fetcher"
	BulkWriter    = "bulk-writer"
	Replicator    = "replicator"
)

// Services are the programs that are one service of the pipeline each.
func Services() []string {
	return []string{ChangesReader, Selector, RevsDiff, DocFetcher, BulkWriter, Replicator}
}

// buildTime bounds a build from nothing, with the race detector, on a small machine.
const buildTime = 10 * time.Minute

// build builds once per test process, whatever number of tests ask.
var build = sync.OnceValues(compile)

// Dir builds the programs, at the first call of this process, and returns the
// directory that they are in. They have the race detector if the test has it. They
// stay in the user's cache directory, so that only what has changed is built.
func Dir() (string, error) { return build() }

func compile() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildTime)
	defer cancel()
	module, err := moduleDir(ctx)
	if err != nil {
		return "", err
	}
	dir, err := cacheDir(module)
	if err != nil {
		return "", err
	}
	unlock, err := filelock.Lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	built := filepath.Join(dir, "built")
	args := []string{"build", "-o", built + string(filepath.Separator)}
	if raceEnabled {
		args = append(args, "-race")
	}
	args = append(args, "./"+Millrace)
	for _, name := range Services() {
		args = append(args, "./"+name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, publish(built, dir)
}

// publish puts each built program where it is run from, in one step each: another
// test process may be about to start it.
func publish(built, dir string) error {
	for _, name := range append(Services(), Millrace) {
		fresh := filepath.Join(dir, name+".new")
		if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("publish %s: %w", name, err)
		}
		if err := os.Link(filepath.Join(built, name), fresh); err != nil {
			return fmt.Errorf("publish %s: %w", name, err)
		}
		if err := os.Rename(fresh, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("publish %s: %w", name, err)
		}
		// Renaming one link of a file onto another of the same does nothing, and
		// leaves both.
		if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("publish %s: %w", name, err)
		}
	}
	return nil
}

// moduleDir is the module of the services, wherever the test that asks runs.
func moduleDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "millrace/services").Output()
	if err != nil {
		return "", fmt.Errorf("find the module millrace/services: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// cacheDir is apart for each work tree, and for programs with the race detector.
func cacheDir(module string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the programs: %w", err)
	}
	kind := "programs"
	if raceEnabled {
		kind = "programs-race"
	}
	name := fmt.Sprintf("%s-%.8x", kind, sha256.Sum256([]byte(module)))
	return filepath.Join(cache, "millrace-e2e", name), nil
}
