package service

import "runtime/debug"

// Version is the version of the program, as the Go toolchain recorded it; "dev" for a
// build from a work tree.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
