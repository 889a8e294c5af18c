package peer

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"millrace/e2e/internal/filelock"
)

// The PouchDB server: a small Express application and the packages it needs, all
// pinned by the lock file, which names no registry: npm's configuration does.
//
//go:embed pouchdb/package.json pouchdb/package-lock.json pouchdb/server.js
var application embed.FS

const applicationDir = "pouchdb"

// installed returns a directory with the application and its packages. The first
// use on a machine installs them into the user's cache, under the hash of the
// application, so that a changed one never meets old packages; processes that
// come at the same time wait for the first.
func installed(ctx context.Context, logf func(string, ...any)) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	key, err := applicationHash()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "millrace-e2e")
	unlock, err := filelock.Lock(ctx, filepath.Join(root, key+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(root, key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for installed packages: %w", err)
	}
	logf("installing the PouchDB server's packages (once on this machine)")
	return dir, install(ctx, root, dir)
}

// install makes dir appear whole or not at all.
func install(ctx context.Context, root, dir string) error {
	half, err := os.MkdirTemp(root, "installing-")
	if err != nil {
		return fmt.Errorf("make a directory to install into: %w", err)
	}
	defer func() { _ = os.RemoveAll(half) }() // there only after a failure
	files, err := fs.Sub(application, applicationDir)
	if err != nil {
		return fmt.Errorf("open the application: %w", err)
	}
	if err := os.CopyFS(half, files); err != nil {
		return fmt.Errorf("copy the application: %w", err)
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = half
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	if err := os.Rename(half, dir); err != nil {
		return fmt.Errorf("keep the installed packages: %w", err)
	}
	return nil
}

// applicationHash is of all files of the application.
func applicationHash() (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(application, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := application.ReadFile(path)
		fmt.Fprintf(hash, "%s %d\n", path, len(content))
		hash.Write(content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the application: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8]), nil
}
