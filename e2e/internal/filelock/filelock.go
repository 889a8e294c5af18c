// Package filelock holds locks between the processes of a test run, which share
// what is dear to build.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// poll is how often a lock that somebody else holds is tried again: the kernel's
// lock cannot be waited for and given up.
const poll = 100 * time.Millisecond

// Lock takes the exclusive lock of the file at path, which is made with its
// directory if it is not there. It is held until unlock is called or this process
// ends, however it ends. It waits for other holders until ctx is done, and then
// returns ctx's error.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make a place for a lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing it releases it
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", filepath.Base(path), err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for lock %s: %w", filepath.Base(path), ctx.Err()), f.Close())
		case <-ticker.C:
		}
	}
}
