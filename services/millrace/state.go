package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// defaultStateDir is where Millrace keeps what outlives a command, by the XDG base
// directory specification.
func defaultStateDir() (string, error) {
	if dir := os.Getenv("MILLRACE_DATA"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "millrace"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for data: set --data: %w", err)
	}
	return filepath.Join(home, ".local", "state", "millrace"), nil
}

// replicateDir is where the replications of the command line have a broker each.
func replicateDir(stateDir string) string { return filepath.Join(stateDir, "replicate") }

// stateDir is the given directory, or the default.
func stateDir(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	return defaultStateDir()
}
