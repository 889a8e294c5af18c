package jaegertest

import (
	"path/filepath"
	"testing"
)

func TestBuildThatFailsLeavesNoProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jaeger")
	if err := compile(t.Context(), t.TempDir(), path); err == nil {
		t.Error("a directory without a module could be built")
	}
	if exists(path) {
		t.Error("something was left")
	}
}
