package service

import (
	"os"
	"runtime/debug"
)

// defaultMemoryLimit is the soft limit of a program's memory, in bytes: the garbage
// collector works harder before the program grows beyond it. What is live in a pipeline
// is a fraction of it (invariant 5).
const defaultMemoryLimit = 220 << 20

// LimitMemory sets the soft limit of the program's memory, unless GOMEMLIMIT does.
func LimitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(defaultMemoryLimit)
	}
}
