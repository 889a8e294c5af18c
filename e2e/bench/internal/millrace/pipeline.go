package millrace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// The services of each side, besides the broker. The replicator asks both sides,
// through the broker, and is put where that is.
var (
	sourceSide = []string{"changes-reader", "selector", "doc-fetcher", "replicator"}
	targetSide = []string{"revs-diff", "bulk-writer"}
)

// brokerTime is how long a broker may take to say where it is.
const brokerTime = 30 * time.Second

// Pipeline is millrace as services: a broker and each service in a process of its
// own, a number of them at the far side.
type Pipeline struct {
	program   *Program
	nats      string // the broker's URL at its own side
	processes []*Process
}

// Pipeline starts the services, which are beside the millrace program. far returns
// the address, host:port, by which the target's side reaches the broker's. The
// caller must call [Pipeline.Stop].
func (p *Program) Pipeline(ctx context.Context, far func(broker string) (string, error)) (_ *Pipeline, err error) {
	l := &Pipeline{program: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Stop())
		}
	}()
	line := newFirstLine()
	broker, err := p.start(ctx, p.path, []string{"broker", "--listen", "127.0.0.1:0", "--data", "broker"}, line, nil)
	if err != nil {
		return nil, err
	}
	l.processes = append(l.processes, broker)
	if l.nats, err = line.await(ctx, broker); err != nil {
		return nil, err
	}
	u, err := url.Parse(l.nats)
	if err != nil {
		return nil, fmt.Errorf("the broker's first line: %w", err)
	}
	if u.Host, err = far(u.Host); err != nil {
		return nil, err
	}
	for _, side := range []struct {
		services []string
		nats     string
	}{{sourceSide, l.nats}, {targetSide, u.String()}} {
		for _, name := range side.services {
			if err := l.add(ctx, name, side.nats); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// add starts a service.
func (l *Pipeline) add(ctx context.Context, name, nats string) error {
	path, err := exec.LookPath(filepath.Join(filepath.Dir(l.program.path), name))
	if err != nil {
		return fmt.Errorf("find a service: %w", err)
	}
	process, err := l.program.start(ctx, path, []string{"--nats", nats}, nil, nil)
	if err != nil {
		return err
	}
	l.processes = append(l.processes, process)
	return nil
}

// Replicate starts "millrace replicate source target --json" on these services. The
// caller must call [Process.Wait].
func (l *Pipeline) Replicate(ctx context.Context, source, target string) (*Process, error) {
	args := append([]string{"replicate", source, target, "--json", "--nats", l.nats}, l.program.args...)
	return l.program.start(ctx, l.program.path, args, nil, secrets(source, target))
}

// PIDs returns the processes of broker and services.
func (l *Pipeline) PIDs() []int {
	pids := make([]int, len(l.processes))
	for i, process := range l.processes {
		pids[i] = process.PID()
	}
	return pids
}

// PeakRSS is the sum of what each process has had at most, in bytes.
func (l *Pipeline) PeakRSS() (int64, error) {
	var sum int64
	for _, pid := range l.PIDs() {
		rss, err := l.program.fs.PeakRSS(pid)
		if err != nil {
			return 0, err
		}
		sum += rss
	}
	return sum, nil
}

// Stop ends the services, and then the broker.
func (l *Pipeline) Stop() error {
	var failed error
	for i := len(l.processes) - 1; i >= 0; i-- {
		_, err := l.processes[i].Stop()
		failed = errors.Join(failed, err)
	}
	return failed
}

// firstLine is a writer that waits for the end of the first line.
type firstLine struct {
	mu    sync.Mutex
	line  []byte
	whole chan struct{} // closed when the line is complete
}

func newFirstLine() *firstLine { return &firstLine{whole: make(chan struct{})} }

func (f *firstLine) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.whole:
		return len(b), nil
	default:
	}
	line, _, found := bytes.Cut(b, []byte("\n"))
	f.line = append(f.line, line...)
	if found {
		close(f.whole)
	}
	return len(b), nil
}

// await returns the line, or why there is none.
func (f *firstLine) await(ctx context.Context, process *Process) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, brokerTime, errors.New("the broker does not say where it is"))
	defer cancel()
	select {
	case <-f.whole:
		return string(f.line), nil
	case <-process.Ended():
		_, err := process.Wait()
		return "", errors.Join(errors.New("the broker has ended"), err)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
