//go:build !linux

package jaegertest

import "syscall"

// diesWithParent is known on Linux only: elsewhere a Jaeger outlives a test that
// is killed.
func diesWithParent() *syscall.SysProcAttr { return nil }
