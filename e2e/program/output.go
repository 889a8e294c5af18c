package program

import (
	"bytes"
	"strings"
	"sync"
)

// Output is what a process has written to stdout or stderr so far.
type Output struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed at the next write
}

func newOutput() *Output { return &Output{changed: make(chan struct{})} }

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

// String returns everything that was written.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// Lines returns the lines that are complete.
func (o *Output) Lines() []string {
	lines, _ := o.lines(0)
	return lines
}

// lines returns the complete lines from number first on, and what is closed when
// there may be more.
func (o *Output) lines(first int) ([]string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	whole := o.text[:bytes.LastIndexByte(o.text, '\n')+1]
	lines := strings.Split(string(whole), "\n")
	lines = lines[:len(lines)-1]
	return lines[min(first, len(lines)):], o.changed
}
