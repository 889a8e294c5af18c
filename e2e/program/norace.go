//go:build !race

package program

// raceEnabled: programs are built as the test was.
const raceEnabled = false
