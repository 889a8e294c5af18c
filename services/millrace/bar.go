package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	millracev1 "millrace/proto/millrace/v1"
)

// rate is how fast a replication is, smoothed over a few seconds.
type rate struct {
	docs, bytes, rows float64 // per second
	at                time.Time
	run               uint64
	seen              *millracev1.Status
}

// smoothing is the time constant of rates, in seconds.
const smoothing = 3

func (r *rate) add(now time.Time, s *millracev1.Status) {
	defer func() { r.at, r.seen, r.run = now, s, s.Run }()
	if r.seen == nil || r.run != s.Run { // counters begin anew with a run
		return
	}
	elapsed := now.Sub(r.at).Seconds()
	if elapsed <= 0 {
		return
	}
	weight := 1 - math.Exp(-elapsed/smoothing)
	move := func(have *float64, before, after uint64) {
		*have += weight * (float64(after-min(before, after))/elapsed - *have)
	}
	move(&r.docs, r.seen.Session.GetDocsWritten(), s.Session.GetDocsWritten())
	move(&r.bytes, r.seen.Session.GetBytesWritten(), s.Session.GetBytesWritten())
	move(&r.rows, r.seen.Rows, s.Rows)
}

const barWidth = 24

// draw draws the bar over what was drawn before.
func (d *display) draw() {
	d.drawn = true
	fmt.Fprintf(d.err, "\r\x1b[K%s", d.text())
}

// clear removes the bar, for a line that stays.
func (d *display) clear() {
	if d.drawn {
		fmt.Fprint(d.err, "\r\x1b[K")
	}
}

// text is progress in a line: done, pending, docs/s, MB/s, time left.
func (d *display) text() string {
	s := d.last
	var b strings.Builder
	if share, known := d.share(); known && d.bar {
		full := int(share * barWidth)
		fmt.Fprintf(&b, "[%s%s] %3.0f%% ", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), 100*share)
	}
	fmt.Fprintf(&b, "%d changes", s.Rows)
	if s.Total >= 0 && uint64(s.Total) > s.Rows {
		fmt.Fprintf(&b, ", %d pending", uint64(s.Total)-s.Rows)
	}
	fmt.Fprintf(&b, ", %d docs written, %.0f docs/s, %s/s", s.Session.GetDocsWritten(), d.rate.docs, size(uint64(d.rate.bytes)))
	if n := s.Session.GetDocWriteFailures(); n > 0 {
		fmt.Fprintf(&b, ", %d rejected", n)
	}
	if left, known := d.left(); known {
		fmt.Fprintf(&b, ", %s left", left)
	}
	return b.String()
}

func (d *display) share() (float64, bool) {
	if d.last.Total <= 0 {
		return 0, false
	}
	return min(1, float64(d.last.Rows)/float64(d.last.Total)), true
}

func (d *display) left() (time.Duration, bool) {
	s := d.last
	if d.rate.rows < 1 || s.Total < 0 || uint64(s.Total) <= s.Rows {
		return 0, false
	}
	seconds := float64(uint64(s.Total)-s.Rows) / d.rate.rows
	return time.Duration(seconds * float64(time.Second)).Round(time.Second), true
}

// size is a number of bytes for people.
func size(n uint64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	default:
		return fmt.Sprintf("%d B", n)
	}
}

func round1(f float64) float64 { return math.Round(10*f) / 10 }
