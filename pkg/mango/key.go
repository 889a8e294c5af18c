package mango

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Keys put values into classes: values that are equal to CouchDB have equal keys.
// The reverse holds for scalars only; of arrays and objects a key tells the length.

// appendKey appends the key of a value.
func appendKey(dst []byte, v value) []byte {
	switch t := v.(type) {
	case nil:
		return append(dst, 'n')
	case bool:
		if t {
			return append(dst, 't')
		}
		return append(dst, 'f')
	case int64:
		return strconv.AppendInt(append(dst, '#'), t, 10)
	case *big.Int:
		return t.Append(append(dst, '#'), 10)
	case float64:
		return appendFloatKey(append(dst, '#'), t)
	case string:
		return appendStringKey(dst, t)
	case array:
		return strconv.AppendInt(append(dst, '['), int64(len(t)), 10)
	case object:
		return strconv.AppendInt(append(dst, '{'), int64(len(t)), 10)
	}
	return dst
}

// appendFloatKey writes a float without a fraction as the integer that it equals.
func appendFloatKey(dst []byte, f float64) []byte {
	if f != math.Trunc(f) || math.IsInf(f, 0) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	if math.Abs(f) < 1<<53 {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	n, _ := big.NewFloat(f).Int(nil)
	return n.Append(dst, 10)
}

// appendStringKey writes a string that is equal to one of plain ASCII as that, and
// others by their key in the collation.
func appendStringKey(dst []byte, s string) []byte {
	if isPlain(s) {
		return append(append(dst, 's'), s...)
	}
	ascii := strings.Map(func(r rune) rune {
		if isPlainRune(r) {
			return r
		}
		return -1
	}, norm.NFD.String(s))
	if collateStrings(ascii, s) == 0 {
		return append(append(dst, 's'), ascii...)
	}
	return appendSortKey(append(dst, 'S'), s)
}

// isPlain says whether s is of those ASCII characters that count in the collation,
// among which only equal strings are equal.
func isPlain(s string) bool {
	for i := range len(s) {
		if !isPlainRune(rune(s[i])) {
			return false
		}
	}
	return true
}

func isPlainRune(r rune) bool { return r < utf8.RuneSelf && asciiWeights[r] != 0 }

// EachKey calls yield with the key of a field's value and, if that is an array, with
// those of its elements. The key is only valid during the call. scratch is memory
// for keys, returned for further use.
func (d Document) EachKey(f Field, scratch []byte, yield func(key []byte)) []byte {
	v, ok := d.find(f)
	if !ok {
		return scratch
	}
	scratch = appendKey(scratch[:0], v)
	yield(scratch)
	if a, ok := v.(array); ok {
		for _, e := range a {
			scratch = appendKey(scratch[:0], e)
			yield(scratch)
		}
	}
	return scratch
}

// Text is the value of a field if it is a string.
func (d Document) Text(f Field) (string, bool) {
	v, _ := d.find(f)
	s, ok := v.(string)
	return s, ok
}

func (d Document) find(f Field) (value, bool) {
	v, found := d.lookup(&f.field)
	return v, found == isThere
}

// Names calls yield with the name of each member of the document.
func (d Document) Names(yield func(name []byte)) {
	for i := range d.members {
		yield(d.members[i].name)
	}
}
