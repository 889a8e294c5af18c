// Package procfs reads from Linux's /proc which processes listen on a port,
// how much processor time they have used and how much memory they took, so
// that a benchmark can say what a server on the same machine spent.
//
// On a system without /proc every call returns an error that matches
// [io/fs.ErrNotExist].
package procfs

import (
	"path/filepath"
	"strconv"
)

// FS is a mounted proc file system.
type FS struct {
	root string
}

// New returns the proc file system mounted at root, "/proc" on every Linux.
func New(root string) FS {
	return FS{root: root}
}

// path joins elements below the root.
func (fs FS) path(elem ...string) string {
	return filepath.Join(append([]string{fs.root}, elem...)...)
}

// process returns the path of a file of one process.
func (fs FS) process(pid int, name string) string {
	return fs.path(strconv.Itoa(pid), name)
}
