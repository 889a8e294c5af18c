package procfs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc/<pid>/stat. The kernel scales them to
// USER_HZ, which is 100 on every architecture that Go runs on.
const tick = time.Second / 100

// stat is what we need of /proc/<pid>/stat.
type stat struct {
	parent int
	// used is user and system time of the process, all its threads, and the
	// children that it has waited for.
	used time.Duration
}

// CPU returns the user and system time used so far by the given processes and
// everything that descends from them, with a resolution of 10 ms. A descendant
// that has ended still counts, by way of the parent that waited for it, so
// the difference of two readings is what was used in between.
func (f FS) CPU(pids []int) (time.Duration, error) {
	all, err := f.pids()
	if err != nil {
		return 0, err
	}
	stats := make(map[int]stat, len(all))
	for _, pid := range all {
		s, err := f.stat(pid)
		if err != nil {
			continue // it ended since it was listed
		}
		stats[pid] = s
	}
	roots := make(map[int]bool, len(pids))
	for _, pid := range pids {
		if _, alive := stats[pid]; !alive {
			return 0, fmt.Errorf("processor time: process %d is gone", pid)
		}
		roots[pid] = true
	}
	var sum time.Duration
	for pid, s := range stats {
		if descends(pid, roots, stats) {
			sum += s.used
		}
	}
	return sum, nil
}

// descends reports whether pid is one of the roots or below one. A snapshot of
// a living system can hold a cycle when an id was used again, hence the bound.
func descends(pid int, roots map[int]bool, stats map[int]stat) bool {
	for range len(stats) {
		if roots[pid] {
			return true
		}
		s, known := stats[pid]
		if !known {
			return false
		}
		pid = s.parent
	}
	return false
}

// PeakRSS returns the largest resident set that a running process has had
// since it was executed, in bytes.
//
// It is read from the process and not from wait4's rusage: Linux counts the
// memory shared with the parent before execve into ru_maxrss, so a small
// program started by a big one appears as big as its parent.
func (f FS) PeakRSS(pid int) (int64, error) {
	file, err := os.Open(f.process(pid, "status"))
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			return parseKilobytes(value)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	return 0, errors.New("peak memory: the process has no memory any more")
}

// parseKilobytes reads "  1234 kB" into bytes.
func parseKilobytes(text string) (int64, error) {
	number := strings.TrimSuffix(strings.TrimSpace(text), " kB")
	kilobytes, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	return kilobytes * 1024, nil
}

// pids returns every process, in ascending order of name.
func (f FS) pids() ([]int, error) {
	entries, err := os.ReadDir(f.path())
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// stat reads /proc/<pid>/stat.
func (f FS) stat(pid int) (stat, error) {
	text, err := os.ReadFile(f.process(pid, "stat"))
	if err != nil {
		return stat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return parseStat(string(text))
}

// parseStat reads the parent (field 4) and the four times (fields 14 to 17) of
// proc(5). The name in field 2 may itself hold spaces and parentheses, so
// counting starts behind its last one.
func parseStat(text string) (stat, error) {
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, errors.New("process state: no name")
	}
	fields := strings.Fields(text[end+1:]) // from field 3 on
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("process state: %d fields after the name", len(fields))
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, fmt.Errorf("process state: parent: %w", err)
	}
	var ticks int64
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("process state: time: %w", err)
		}
		ticks += n
	}
	return stat{parent: parent, used: time.Duration(ticks) * tick}, nil
}
