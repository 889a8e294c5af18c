package program

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for anything that a process is to do. It says
// that something hangs, and nothing about speed.
const patience = 2 * time.Minute

// Killed is the exit code of a process that a signal has ended.
const Killed = -1

// Process is a running program of the product.
type Process struct {
	// Name of the program.
	Name string
	// Stdout and Stderr are what it has written.
	Stdout, Stderr *Output

	t     testing.TB
	cmd   *exec.Cmd
	ended chan struct{} // closed when code is set
	code  int
}

// Start starts a program with these arguments, and with these variables
// (NAME=value) besides those that every program needs. Its home is an empty
// directory of its own. When the test ends it is killed, its output is searched for
// the passwords of the URLs in its arguments and environment, of which it must have
// none (invariant 9), and for panics and data races, and printed if the test has
// failed.
func Start(t testing.TB, name string, args []string, env ...string) *Process {
	t.Helper()
	dir, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{Name: name, Stdout: newOutput(), Stderr: newOutput(), t: t, ended: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(dir, name), args...)
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = append(environment(p.cmd.Dir), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.Stdout, p.Stderr
	p.cmd.SysProcAttr = diesWithParent()
	started := make(chan error, 1)
	go p.live(started)
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		p.Kill()
		p.checkSecrets(secrets(slices.Concat(args, env)))
		p.checkHealth()
		if t.Failed() {
			t.Logf("%s %d exited with %d\nstdout: %s\nstderr: %s", name, p.PID(), p.code, abridged(p.Stdout), abridged(p.Stderr))
		}
	})
	return p
}

// environment is what every program needs: nothing of the test's own settings, and
// no place where a program of before has left anything.
func environment(home string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home,
		"XDG_STATE_HOME=" + home, "XDG_CACHE_HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_DATA_HOME=" + home,
	}
}

// live is the process's life. To the kernel a process's parent is the thread that
// started it, so that thread has to stay.
func (p *Process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = p.cmd.Wait() // the state says as much
	p.code = p.cmd.ProcessState.ExitCode()
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Running says that the process is not gone.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Signal sends a signal; to a process that is gone, none.
func (p *Process) Signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%s to %s: %v", signal, p.Name, err)
	}
}

// Kill ends the process as a power cut does (SIGKILL), and waits for it.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// Stop asks the process to end (SIGTERM) and returns its exit code.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Interrupt does what Ctrl-C does (SIGINT) and returns the exit code.
func (p *Process) Interrupt() int {
	p.t.Helper()
	p.Signal(syscall.SIGINT)
	return p.Wait()
}

// Wait returns the exit code of the process once it is gone; Killed after a signal.
// A process that goes on for ever fails the test, after a word of what its
// goroutines do.
func (p *Process) Wait() int {
	p.t.Helper()
	patient := time.NewTimer(patience)
	defer patient.Stop()
	select {
	case <-p.ended:
		return p.code
	case <-patient.C:
		p.explain()
		p.t.Fatalf("%s does not end", p.Name)
		return Killed
	}
}

// WaitLine returns the first line that found accepts of what the process writes to
// out (p.Stdout or p.Stderr), from its first line on. It fails the test if the
// process ends without.
func (p *Process) WaitLine(out *Output, found func(line string) bool) string {
	p.t.Helper()
	patient := time.NewTimer(patience)
	defer patient.Stop()
	gone := p.ended
	for seen := 0; ; {
		lines, changed := out.lines(seen)
		for _, line := range lines {
			if found(line) {
				return line
			}
		}
		seen += len(lines)
		if gone == nil {
			p.t.Fatalf("%s ended with %d and without the line", p.Name, p.code)
		}
		select {
		case <-changed:
		case <-gone:
			gone = nil // one last look: all of its output is there now
		case <-patient.C:
			p.explain()
			p.t.Fatalf("%s does not write the line", p.Name)
		}
	}
}

// checkHealth fails the test if the Go runtime has complained.
func (p *Process) checkHealth() {
	for _, complaint := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if strings.Contains(p.Stderr.String(), complaint) {
			p.t.Errorf("%s %d says %q", p.Name, p.PID(), complaint)
		}
	}
}

// explain makes the Go runtime print all goroutines of a process that hangs.
func (p *Process) explain() {
	p.Signal(syscall.SIGCONT)
	p.Signal(syscall.SIGQUIT)
	<-p.ended
}
