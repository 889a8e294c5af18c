package millrace

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"millrace/e2e/bench/internal/procfs"
)

const (
	source = "http://joe:s3cr%20t@127.0.0.1:1/a"
	target = "http://joe:s3cr%20t@127.0.0.1:1/b"
)

// program is this test binary in the given act.
func program(t *testing.T, act string, args ...string) *Program {
	t.Helper()
	t.Setenv(actEnv, act)
	p, err := Find(os.Args[0], args, procfs.New("/proc"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// started starts the program.
func started(t *testing.T, ctx context.Context, p *Program, continuous bool) *Process {
	t.Helper()
	process, err := p.Replicate(ctx, source, target, continuous)
	if err != nil {
		t.Fatal(err)
	}
	return process
}

// live starts a program that runs until it is interrupted, and returns when it
// would heed that.
func live(t *testing.T, ctx context.Context) *Process {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MILLRACE_BENCH_READY", ready)
	process := started(t, ctx, program(t, "live"), true)
	if _, err := os.ReadFile(ready); err != nil { // until the program opens and closes it
		t.Fatal(err)
	}
	return process
}

func TestProgramThatSucceedsHasItsUsage(t *testing.T) {
	used, err := started(t, t.Context(), program(t, "succeed"), false).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if used.Wall <= 0 || used.CPU <= 0 {
		t.Errorf("used %+v", used)
	}
}

func TestProgramThatFailsIsQuotedWithoutSecrets(t *testing.T) {
	_, err := started(t, t.Context(), program(t, "fail"), false).Wait()
	if err == nil || !strings.Contains(err.Error(), "exit status 3: cannot read http://***127.0.0.1:1/a") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "s3cr") {
		t.Errorf("a secret in %v", err)
	}
}

func TestProgramIsCalledWithEveryArgumentInAHomeOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		continuous bool
		want       string
	}{
		{false, "--json --stages 4 at home: true"},
		{true, "--json --continuous --stages 4 at home: true"},
	} {
		process := started(t, t.Context(), program(t, "describe", "--stages", "4"), c.continuous)
		if _, err := process.Wait(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if _, err := os.Stat(process.home); !os.IsNotExist(err) {
			t.Errorf("%s is left behind: %v", process.home, err)
		}
	}
}

func TestStoppedProgramMayExitAsItLikes(t *testing.T) {
	process := live(t, t.Context())
	if _, err := process.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := process.Stop(); err != nil {
		t.Error("a second time:", err)
	}
}

func TestCancelledProgramIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	process := live(t, ctx)
	cancel()
	if _, err := process.Wait(); err == nil {
		t.Error("a cancelled program succeeded")
	}
}

// Linux counts the memory that a child shares with its parent before execve
// into the child's ru_maxrss. What is reported must not be the harness's.
func TestPeakMemoryIsNotTheHarness(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("needs Linux's /proc:", err)
	}
	ballast := make([]byte, 192<<20)
	for i := 0; i < len(ballast); i += os.Getpagesize() {
		ballast[i] = 1
	}
	process := live(t, t.Context())
	used, err := process.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if used.PeakRSS <= 0 || used.PeakRSS >= int64(len(ballast)) {
		t.Errorf("peak %d bytes", used.PeakRSS)
	}
	if ballast[0] != 1 {
		t.Error("the ballast is gone")
	}
}

func TestProgramThatIsNotThereIsAnError(t *testing.T) {
	if _, err := Find(filepath.Join(t.TempDir(), "millrace"), nil, procfs.New("/proc")); err == nil {
		t.Error("found nothing")
	} else if !strings.Contains(err.Error(), fs.ErrNotExist.Error()) && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var kept tail
	for range 100 {
		if _, err := kept.Write([]byte(strings.Repeat("x", 99) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := kept.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if got := kept.String(); len(got) > tailSize || !strings.HasSuffix(got, "x\nthe end") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-10:])
	}
}

func TestPipelineThatCannotStartLeavesNothingBehind(t *testing.T) {
	_, err := program(t, "fail").Pipeline(t.Context(), func(broker string) (string, error) { return broker, nil })
	if err == nil || !strings.Contains(err.Error(), "the broker has ended") {
		t.Errorf("a broker that fails: %v", err)
	}
	_, err = program(t, "broker").Pipeline(t.Context(), func(broker string) (string, error) {
		if broker != "127.0.0.1:1234" {
			t.Errorf("the broker is at %s", broker)
		}
		return broker, nil
	})
	if err == nil || !strings.Contains(err.Error(), "find a service") {
		t.Errorf("services that are not there: %v", err)
	}
}
