package millrace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/e2e/bench/internal/procfs"
)

// Usage is what a process took from start to exit.
type Usage struct {
	Wall    time.Duration
	CPU     time.Duration // user and system, with children that it waited for
	PeakRSS int64         // bytes; 0 where it cannot be had
}

// Process is a running program.
type Process struct {
	name    string
	fs      procfs.FS
	cmd     *exec.Cmd
	home    string
	secrets []string
	started time.Time
	out     tail
	peak    atomic.Int64
	stopped atomic.Bool // interrupted by Stop
	killed  atomic.Bool // which did not help

	ended chan struct{} // closed when the following are set
	usage Usage
	err   error
}

// PID returns the process id.
func (p *Process) PID() int {
	return p.cmd.Process.Pid
}

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} {
	return p.ended
}

// Stop interrupts the process as a person at a terminal would (SIGINT), waits
// for it and returns what it used. With which status it exits is its own
// affair, but not that it has to be killed after 30 s.
func (p *Process) Stop() (Usage, error) {
	p.stopped.Store(true)
	p.look()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return Usage{}, fmt.Errorf("interrupt %s: %w", p.name, err)
	}
	patience := time.AfterFunc(stopTime, func() {
		p.killed.Store(true)
		_ = p.cmd.Process.Kill() // it may have ended this instant, which is as good
	})
	defer patience.Stop()
	return p.Wait()
}

// Wait returns what the process used once it has ended. A process that failed
// gives an error with the end of what it said.
func (p *Process) Wait() (Usage, error) {
	<-p.ended
	return p.usage, p.err
}

// watch keeps the peak of the process's memory until it is gone.
func (p *Process) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for p.look() {
		<-ticker.C
	}
}

// look takes the peak of the process's memory up to now. It fails once the process has ended,
// and where there is no /proc.
func (p *Process) look() bool {
	rss, err := p.fs.PeakRSS(p.PID())
	if err != nil {
		return false
	}
	p.peak.Store(rss)
	return true
}

// reap waits for the process and for its watcher, and sets the outcome.
func (p *Process) reap(watched <-chan struct{}) {
	defer close(p.ended)
	err := p.cmd.Wait()
	p.usage.Wall = time.Since(p.started)
	<-watched
	state := p.cmd.ProcessState
	p.usage.CPU = state.UserTime() + state.SystemTime()
	p.usage.PeakRSS = p.peak.Load()
	var exit *exec.ExitError
	if p.stopped.Load() && !p.killed.Load() && errors.As(err, &exit) {
		err = nil // it was told to end
	}
	if err != nil {
		p.err = fmt.Errorf("%s: %w: %s", p.name, err, redact(p.out.String(), p.secrets))
	}
	if err := os.RemoveAll(p.home); err != nil {
		p.err = errors.Join(p.err, fmt.Errorf("remove the home of %s: %w", p.name, err))
	}
}

// tailSize is how much of a process's output is kept, in bytes.
const tailSize = 2 << 10

// tail is a writer that remembers the end of what was written.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

// String returns the end of what was written, without white space around it.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}
