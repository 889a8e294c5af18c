package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// fake is a proc file system made of files.
type fake struct {
	t    *testing.T
	root string
}

func newFake(t *testing.T) fake {
	return fake{t: t, root: t.TempDir()}
}

// process adds one with user, system, waited-for user and system ticks.
func (f fake) process(pid, parent int, name string, ticks ...int) {
	f.write(pid, "stat", fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194560 16549 556 0 0 %d %d %d %d 20 0 26 0 59802 2212741120 18196\n",
		pid, name, parent, ticks[0], ticks[1], ticks[2], ticks[3]))
}

func (f fake) write(pid int, name, text string) {
	f.t.Helper()
	dir := filepath.Join(f.root, strconv.Itoa(pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func TestCPUSumsAProcessAndItsDescendants(t *testing.T) {
	f := newFake(t)
	f.process(1, 0, "init", 10000, 0, 0, 0)
	f.process(20, 1, "beam.smp", 100, 50, 7, 3)
	f.process(21, 20, "erl_child_setup", 1, 0, 0, 0)
	f.process(22, 21, "a (b) c) d", 10, 10, 0, 0)
	f.process(30, 1, "other", 5000, 0, 0, 0)
	for _, c := range []struct {
		name  string
		roots []int
		want  time.Duration
	}{
		{"a tree", []int{20}, 1810 * time.Millisecond},
		{"a tree named by two of its processes counts once", []int{20, 22}, 1810 * time.Millisecond},
		{"a leaf", []int{22}, 200 * time.Millisecond},
		{"nothing", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := New(f.root).CPU(c.roots)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestCPUOfAProcessThatIsGoneIsAnError(t *testing.T) {
	f := newFake(t)
	f.process(1, 0, "init", 1, 1, 1, 1)
	if got, err := New(f.root).CPU([]int{2}); err == nil {
		t.Errorf("got %v", got)
	}
}

func TestCPUEndsOnACycleOfParents(t *testing.T) {
	f := newFake(t)
	f.process(5, 6, "a", 1, 0, 0, 0)
	f.process(6, 5, "b", 1, 0, 0, 0)
	f.process(7, 0, "c", 4, 0, 0, 0)
	got, err := New(f.root).CPU([]int{7})
	if err != nil || got != 40*time.Millisecond {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestSystemWithoutProcSaysSo(t *testing.T) {
	none := New(filepath.Join(t.TempDir(), "none"))
	if _, err := none.CPU([]int{1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("CPU: %v", err)
	}
	if _, err := none.PeakRSS(1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("PeakRSS: %v", err)
	}
}

func TestPeakRSSIsReadInBytes(t *testing.T) {
	f := newFake(t)
	f.write(9, "status", "Name:\tx\nVmPeak:\t  99999 kB\nVmHWM:\t    1234 kB\nVmRSS:\t     999 kB\n")
	got, err := New(f.root).PeakRSS(9)
	if err != nil || got != 1234*1024 {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestPeakRSSOfAZombieIsAnError(t *testing.T) {
	f := newFake(t)
	f.write(9, "status", "Name:\tx\nState:\tZ (zombie)\n")
	if got, err := New(f.root).PeakRSS(9); err == nil {
		t.Errorf("got %d", got)
	}
}

func TestOwnProcessHasUsedTimeAndMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs Linux's /proc:", err)
	}
	proc := New("/proc")
	before, err := proc.CPU([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	for now := before; now <= before; {
		if now, err = proc.CPU([]int{os.Getpid()}); err != nil {
			t.Fatal(err)
		}
	}
	if rss, err := proc.PeakRSS(os.Getpid()); err != nil || rss <= 0 {
		t.Errorf("peak memory: %d, %v", rss, err)
	}
}

func FuzzStat(f *testing.F) {
	f.Add("10555 (beam.smp) S 1 10555 10555 0 -1 4194560 16549 556 0 0 439 69 0 0 20 0 26 0 59802")
	f.Add("1 (a) b) S 1 1 1 0 -1 0 0 0 0 0 1 2 3 4 20")
	f.Add("1 ()")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseStat(text) // must not panic
	})
}
