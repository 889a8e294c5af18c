//go:build !linux

package program

import "syscall"

// diesWithParent is known on Linux only: elsewhere a program outlives a test that
// is killed.
func diesWithParent() *syscall.SysProcAttr { return nil }
