package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// chart has logarithmic axes of whole decades.
type chart struct {
	title, x, y string
	xs          []float64
	lines       []line
}

type line struct {
	name, color string
	ys          []float64
}

const (
	width, height           = 720, 440
	left, right, top, below = 80, 110, 50, 60
)

// axis maps values to pixels.
type axis struct {
	low, high float64 // decades
	from, to  float64 // pixels
}

func decades(values []float64, from, to float64) axis {
	a := axis{math.Inf(1), math.Inf(-1), from, to}
	for _, v := range values {
		a.low = min(a.low, math.Floor(math.Log10(v)))
		a.high = max(a.high, math.Ceil(math.Log10(v)))
	}
	return a
}

func (a axis) at(v float64) float64 {
	return a.from + (math.Log10(v)-a.low)/(a.high-a.low)*(a.to-a.from)
}

func (c *chart) svg() []byte {
	var ys []float64
	for _, l := range c.lines {
		ys = append(ys, l.ys...)
	}
	x := decades(c.xs, left, width-right)
	y := decades(ys, height-below, top)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="28" font-size="16" fill="#111827">%s</text>`+"\n", left, c.title)
	for d := x.low; d <= x.high; d++ {
		at := x.at(math.Pow(10, d))
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#e5e7eb"/><text x="%.1f" y="%d" text-anchor="middle" fill="#4b5563">%s</text>`+"\n",
			at, top, height-below, at, height-below+20, number(math.Pow(10, d)))
	}
	for d := y.low; d <= y.high; d++ {
		at := y.at(math.Pow(10, d))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#e5e7eb"/><text x="%d" y="%.1f" text-anchor="end" fill="#4b5563">%s</text>`+"\n",
			left, at, width-right, left-8, at+4, number(math.Pow(10, d)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#111827">%s</text>`+"\n", (left+width-right)/2, height-16, c.x)
	fmt.Fprintf(&b, `<text transform="translate(22 %d) rotate(-90)" text-anchor="middle" fill="#111827">%s</text>`+"\n", (top+height-below)/2, c.y)
	for _, l := range c.lines {
		c.draw(&b, l, x, y)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c *chart) draw(b *bytes.Buffer, l line, x, y axis) {
	fmt.Fprintf(b, `<path fill="none" stroke="%s" stroke-width="2" d="`, l.color)
	for i := range l.ys {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(b, "%s%.1f %.1f", command, x.at(c.xs[i]), y.at(l.ys[i]))
	}
	b.WriteString("\"/>\n")
	for i := range l.ys {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x.at(c.xs[i]), y.at(l.ys[i]), l.color)
	}
	last := len(l.ys) - 1
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n", x.at(c.xs[last])+10, y.at(l.ys[last])+4, l.color, l.name)
}

func number(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if v >= 10000 {
		return text[:len(text)-3] + " " + text[len(text)-3:]
	}
	return text
}
