package main

import (
	"fmt"
	"io"
	"time"
)

// meter shows progress in a line that is drawn over and over on a terminal, and
// elsewhere printed now and then. It has one user at a time.
type meter struct {
	out   io.Writer
	bar   bool
	last  time.Time
	drawn bool
}

func newMeter(out io.Writer) *meter {
	return &meter{out: out, bar: isTerminal(out), last: time.Now()}
}

// meterInterval is how often the line changes on a terminal.
const meterInterval = 100 * time.Millisecond

func (m *meter) show(text string) {
	interval := lineInterval
	if m.bar {
		interval = meterInterval
	}
	if time.Since(m.last) < interval {
		return
	}
	m.last = time.Now()
	if m.bar {
		m.drawn = true
		fmt.Fprintf(m.out, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(m.out, text)
}

// done removes the line.
func (m *meter) done() {
	if m.drawn {
		m.drawn = false
		fmt.Fprint(m.out, "\r\x1b[K")
	}
}
