package jaegertest

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

func TestBuildLockIsHeldByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache", "jaeger.lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ended, path); !errors.Is(err, context.Canceled) {
		t.Errorf("a second holder got %v", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestBuildThatFailsLeavesNoProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jaeger")
	if err := compile(t.Context(), t.TempDir(), path); err == nil {
		t.Error("a directory without a module could be built")
	}
	if exists(path) {
		t.Error("something was left")
	}
}
