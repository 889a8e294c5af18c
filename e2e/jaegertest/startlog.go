package jaegertest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

// tailSize is how much of Jaeger's log is kept for error messages, in bytes.
const tailSize = 8 << 10

// addresses are the listeners that tests use, as host:port.
type addresses struct{ otlp, query string }

// startLog reads Jaeger's log, which says what ports the kernel chose and when
// everything is ready. It is the io.Writer of the process's standard error.
type startLog struct {
	// ready gets the addresses, once.
	ready chan addresses

	mu    sync.Mutex
	found addresses
	up    bool
	sent  bool
	line  []byte // what came after the last line break
	last  []byte // the end of the log
}

func newStartLog() *startLog { return &startLog{ready: make(chan addresses, 1)} }

// Write takes a piece of the log. It never fails.
func (l *startLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = append(l.last, p...)
	if over := len(l.last) - tailSize; over > 0 {
		l.last = append(l.last[:0], l.last[over:]...)
	}
	if l.sent {
		return len(p), nil
	}
	l.line = append(l.line, p...)
	for {
		line, rest, whole := bytes.Cut(l.line, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		l.read(line)
		l.line = rest
	}
}

// read looks for the lines that matter; those that are not JSON do not.
func (l *startLog) read(line []byte) {
	var entry struct {
		Message  string `json:"msg"`
		Caller   string `json:"caller"`
		Endpoint string `json:"endpoint"`
		HTTPAddr string `json:"http_addr"`
		Status   string `json:"status"`
	}
	if json.Unmarshal(line, &entry) != nil {
		return
	}
	switch {
	case entry.Message == "Starting HTTP server" && strings.HasPrefix(entry.Caller, "otlpreceiver"):
		l.found.otlp = entry.Endpoint
	case entry.Message == "Query server started":
		l.found.query = entry.HTTPAddr
	case entry.Message == "Health Check state change" && entry.Status == "ready":
		l.up = true
	}
	if l.up && l.found.otlp != "" && l.found.query != "" && !l.sent {
		l.sent = true
		l.ready <- l.found
	}
}

// tail is the end of the log.
func (l *startLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.last)
}
