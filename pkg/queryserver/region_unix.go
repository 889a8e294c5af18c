//go:build unix

package queryserver

import "golang.org/x/sys/unix"

// newRegion maps memory that costs nothing until it is used.
func newRegion(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

// forbid makes whoever touches the region from now on fault.
func forbid(region []byte) error { return unix.Mprotect(region, unix.PROT_NONE) }

func freeRegion(region []byte) error { return unix.Munmap(region) }
