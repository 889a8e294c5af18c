package collation

import (
	"encoding/binary"
	"sync"
)

// Compare returns less than zero if a comes before b, zero if the two are equal to
// the collation, and else more. Strings are equal if they differ only in what it
// takes no notice of: control characters, or ways to write the same accented letter.
func Compare(a, b string) int {
	if a == b {
		return 0
	}
	if c, ok := compareASCII(a, b); ok {
		return c
	}
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	t := root()
	buf.a = t.elements(buf.a[:0], a)
	buf.b = t.elements(buf.b[:0], b)
	for level := range levels {
		if c := compareLevel(buf.a, buf.b, level); c != 0 {
			return c
		}
	}
	return 0
}

// buffer is the memory of a comparison.
type buffer struct{ a, b []element }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

const levels = 3

func (e element) weight(level int) uint32 {
	switch level {
	case 0:
		return e.primary
	case 1:
		return uint32(e.secondary)
	default:
		return uint32(e.tertiary)
	}
}

// compareLevel compares the weights of a level, without those that are 0.
func compareLevel(a, b []element, level int) int {
	for {
		var wa, wb uint32
		wa, a = next(a, level)
		wb, b = next(b, level)
		switch {
		case wa < wb:
			return -1
		case wa > wb:
			return 1
		case wa == 0:
			return 0
		}
	}
}

// next is the first weight that is not 0, and what follows; 0 at the end.
func next(es []element, level int) (uint32, []element) {
	for i := range es {
		if w := es[i].weight(level); w != 0 {
			return w, es[i+1:]
		}
	}
	return 0, nil
}

// AppendKey appends a key to dst: two strings have the same key if and only if
// Compare finds them equal. The key of a string of printable ASCII is 's' and the
// string. Keys do not order strings.
func AppendKey(dst []byte, s string) []byte {
	if IsPlain(s) {
		return append(append(dst, 's'), s...)
	}
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	buf.a = root().elements(buf.a[:0], s)
	if key, ok := appendASCII(append(dst, 's'), buf.a); ok {
		return key
	}
	dst = append(dst, 'S')
	for level := range levels {
		for w, rest := next(buf.a, level); w != 0; w, rest = next(rest, level) {
			dst = binary.AppendUvarint(dst, uint64(w))
		}
		dst = append(dst, 0)
	}
	return dst
}

// appendASCII appends the ASCII string that has these elements, if there is one.
func appendASCII(dst []byte, es []element) (key []byte, ok bool) {
	characters := asciiElements()
	for _, e := range es {
		if e == (element{}) {
			continue
		}
		c, ok := characters[e]
		if !ok {
			return nil, false
		}
		dst = append(dst, c)
	}
	return dst, true
}

var asciiElements = sync.OnceValue(func() map[element]byte {
	characters := make(map[element]byte)
	for c := range byte(0x80) {
		if asciiWeights[c] != 0 {
			characters[root().lookup(rune(c))[0]] = c
		}
	}
	return characters
})
