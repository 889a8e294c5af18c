package collation

import (
	"bytes"
	"compress/flate"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"unicode/utf8"
)

//go:embed root.bin
var packed []byte

// element is a collation element. Only the order of weights counts; one that is 0 has
// no say at its level.
type element struct {
	primary   uint32
	secondary uint16
	tertiary  uint8
}

// table has the elements of code points and contractions. Code points that are not
// there are unassigned, except Hangul syllables.
type table struct {
	pages    map[rune]*[256]entry // by the code point without its last eight bits
	several  [][]element          // of code points with another number of them than one
	contract map[string][]element
	starters map[rune]int // the longest contraction that begins with it, in code points
	common   element      // the secondary and tertiary weights of most
}

// entry is one element in 31 bits, or the place of several.
type entry uint32

const (
	unassigned  entry = 0
	isSeveral   entry = 1 << 31
	primaryBits       = 17
	// unassignedPrimary precedes that of unassigned code points, which follow all
	// others but some special ones.
	unassignedPrimary = 1 << 24
	specialPrimary    = 1 << 25
)

// root is the table, unpacked at first use. A table that cannot be read is a mistake
// of the build, which the tests find.
var root = sync.OnceValue(func() *table {
	t, err := unpack(packed)
	if err != nil {
		panic(fmt.Sprintf("collation: the table is damaged: %v", err))
	}
	return t
})

// Bounds for what a damaged table could say.
const maxRunes, maxElements = 8, 64

// reader reads the numbers that gen wrote.
type reader struct {
	*bytes.Reader
	last   map[uint64]int64
	before int64
	err    error
}

func (r *reader) unsigned() uint64 {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		r.err = err
	}
	return n
}

func (r *reader) signed() int64 {
	n, err := binary.ReadVarint(r)
	if err != nil {
		r.err = err
	}
	return n
}

func (r *reader) rune() rune {
	block := r.unsigned()
	r.last[block] += r.signed()
	return rune(r.last[block])
}

func unpack(packed []byte) (*table, error) {
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err != nil {
		return nil, err
	}
	r := &reader{Reader: bytes.NewReader(text), last: make(map[uint64]int64)}
	t := &table{
		pages: make(map[rune]*[256]entry), contract: make(map[string][]element), starters: make(map[rune]int),
	}
	var runes []rune
	var elements []element
	implicit := uint32(r.unsigned())
	for n := r.unsigned(); n > 0 && r.err == nil; n-- {
		runes, elements = runes[:0], elements[:0]
		for range min(r.unsigned(), maxRunes) {
			runes = append(runes, r.rune())
		}
		for range min(r.unsigned(), maxElements) {
			elements = append(elements, r.element(implicit))
		}
		t.set(runes, elements)
	}
	if r.err == nil {
		t.common = t.lookup('a')[0]
	}
	return t, r.err
}

func (r *reader) element(implicit uint32) element {
	primary := r.before + r.signed()
	if primary != 0 {
		r.before = primary
	}
	e := element{primary: uint32(primary), secondary: uint16(r.unsigned()), tertiary: uint8(r.unsigned())}
	if e.primary >= implicit {
		e.primary += specialPrimary
	}
	return e
}

func (t *table) set(runes []rune, elements []element) {
	if len(runes) == 0 {
		return // of a damaged table
	}
	if len(runes) > 1 {
		t.contract[string(runes)] = slices.Clone(elements)
		t.starters[runes[0]] = max(t.starters[runes[0]], len(runes))
		return
	}
	c := runes[0]
	page := t.pages[c>>8]
	if page == nil {
		page = new([256]entry)
		t.pages[c>>8] = page
	}
	if len(elements) == 1 && elements[0].fits() {
		page[c&0xff] = elements[0].pack()
		return
	}
	page[c&0xff] = isSeveral | entry(len(t.several))
	t.several = append(t.several, slices.Clone(elements))
}

// fits says whether an element can be packed; one that is all zero would look like
// an unassigned code point.
func (e element) fits() bool {
	return e.primary < 1<<primaryBits && e.secondary < 1<<9 && e.tertiary < 1<<5 && e != element{}
}

func (e element) pack() entry {
	return entry(e.primary) | entry(e.secondary)<<primaryBits | entry(e.tertiary)<<(primaryBits+9)
}

func (e entry) unpack() element {
	return element{
		primary:   uint32(e & (1<<primaryBits - 1)),
		secondary: uint16(e >> primaryBits & (1<<9 - 1)),
		tertiary:  uint8(e >> (primaryBits + 9) & (1<<5 - 1)),
	}
}

// lookup returns the elements of a code point that is no Hangul syllable.
func (t *table) lookup(c rune) []element { return t.append(nil, c) }

// append appends the elements of a code point.
func (t *table) append(dst []element, c rune) []element {
	if 0xac00 <= c && c <= 0xd7a3 {
		return t.appendHangul(dst, c)
	}
	e := unassigned
	if page := t.pages[c>>8]; page != nil {
		e = page[c&0xff]
	}
	switch {
	case e == unassigned:
		return append(dst, element{unassignedPrimary + uint32(c), t.common.secondary, t.common.tertiary})
	case e&isSeveral != 0:
		return append(dst, t.several[e&^isSeveral]...)
	default:
		return append(dst, e.unpack())
	}
}

// appendHangul appends the elements of a syllable's jamo.
func (t *table) appendHangul(dst []element, c rune) []element {
	const vowels, trails = 21, 28
	n := c - 0xac00
	dst = t.append(dst, 0x1100+n/(vowels*trails))
	dst = t.append(dst, 0x1161+n/trails%vowels)
	if trail := n % trails; trail != 0 {
		dst = t.append(dst, 0x11a7+trail)
	}
	return dst
}

// elements appends the elements of a string, contractions taken together.
func (t *table) elements(dst []element, s string) []element {
	for s != "" {
		c, size := utf8.DecodeRuneInString(s)
		if longest := t.starters[c]; longest > 0 {
			if es, rest, ok := t.contraction(s, size, longest); ok {
				dst, s = append(dst, es...), rest
				continue
			}
		}
		dst, s = t.append(dst, c), s[size:]
	}
	return dst
}
