package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// pouchdb is a PouchDB server in a process of its own.
type pouchdb struct {
	Server
	stdin  io.Closer     // the process ends when it is closed
	ended  chan struct{} // closed when the process has ended
	result error         // how, once it has
	errors tail
}

// startPouchDB installs the server if need be, starts it and waits for its
// address. The context is for the start only.
func startPouchDB(ctx context.Context, logf func(string, ...any)) (*pouchdb, error) {
	dir, err := installed(ctx, logf)
	if err != nil {
		return nil, fmt.Errorf("install: %w", err)
	}
	p := &pouchdb{ended: make(chan struct{})}
	node := exec.Command("node", filepath.Join(dir, "server.js"))
	node.Dir = dir
	node.Stderr = &p.errors
	if p.stdin, err = node.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := node.Start(); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	address, readErr := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(io.Discard, stdout) // Wait must come after the last read
		p.result = node.Wait()
	}()
	if readErr != nil {
		_ = p.stdin.Close()
		<-p.ended
		return nil, fmt.Errorf("node ended without an address: %w\n%s", p.result, p.errors.String())
	}
	p.Server = Server{
		Name: string(PouchDB), URL: strings.TrimSpace(address), Kind: PouchDB,
		Capabilities: capabilitiesOf(PouchDB),
	}
	return p, nil
}

// stop ends the process and waits for it.
func (p *pouchdb) stop() error {
	err := p.dead()
	_ = p.stdin.Close()
	<-p.ended
	return err
}

// dead returns how the process has ended, nil while it runs.
func (p *pouchdb) dead() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%w\n%s", errors.Join(errEnded, p.result), p.errors.String())
	default:
		return nil
	}
}

var errEnded = errors.New("process ended")

// tailBytes is how much of an ended process's complaints is worth showing.
const tailBytes = 4 << 10

// tail keeps the last tailBytes of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailBytes; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
