package compare

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Numbers is what must be the same of two numbers.
type Numbers int

const (
	// Text: every character.
	Text Numbers = iota
	// Value: whole numbers exactly, others as float64.
	Value
	// Float64: what is left in a float64, of whole numbers too.
	Float64
)

// value is a JSON value in which nothing is lost that two databases could differ
// in: numbers are text, strings may have halves of surrogate pairs, objects have
// an order and may have a key twice.
type value struct {
	kind    jsontext.Kind // n, f, t, ", 0, {, [
	text    string        // of a number as written; of a string see unquote
	items   []value       // of an array
	members []member      // of an object
}

type member struct {
	name string // see unquote
	value
}

// parseValue reads one JSON value.
func parseValue(text []byte) (value, error) {
	d := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return readValue(d)
}

func readValue(d *jsontext.Decoder) (value, error) {
	switch d.PeekKind() {
	case '{':
		return readObject(d)
	case '[':
		return readArray(d)
	}
	raw, err := d.ReadValue()
	if err != nil {
		return value{}, err
	}
	v := value{kind: raw.Kind(), text: string(raw)}
	if v.kind == '"' {
		v.text = unquote(raw)
	}
	return v, nil
}

func readObject(d *jsontext.Decoder) (value, error) {
	if _, err := d.ReadToken(); err != nil { // {
		return value{}, err
	}
	v := value{kind: '{'}
	for d.PeekKind() != '}' {
		raw, err := d.ReadValue()
		if err != nil {
			return value{}, err
		}
		name := unquote(raw) // the next read reuses raw's bytes
		inner, err := readValue(d)
		if err != nil {
			return value{}, err
		}
		v.members = append(v.members, member{name: name, value: inner})
	}
	_, err := d.ReadToken() // }
	return v, err
}

func readArray(d *jsontext.Decoder) (value, error) {
	if _, err := d.ReadToken(); err != nil { // [
		return value{}, err
	}
	v := value{kind: '['}
	for d.PeekKind() != ']' {
		inner, err := readValue(d)
		if err != nil {
			return value{}, err
		}
		v.items = append(v.items, inner)
	}
	_, err := d.ReadToken() // ]
	return v, err
}

// unquote is what a JSON string (valid, with its quotes) says. Half of a surrogate
// pair, which UTF-8 has no form for, becomes the three bytes that its number would
// have: not valid UTF-8, but different for different halves.
func unquote(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	out := make([]byte, 0, len(inner))
	for len(inner) > 0 {
		if inner[0] != '\\' {
			n := bytes.IndexByte(inner, '\\')
			if n < 0 {
				n = len(inner)
			}
			out, inner = append(out, inner[:n]...), inner[n:]
			continue
		}
		if inner[1] != 'u' {
			out, inner = append(out, unescaped(inner[1])), inner[2:]
			continue
		}
		r := hexUnit(inner[2:6])
		inner = inner[6:]
		if len(inner) >= 6 && inner[0] == '\\' && inner[1] == 'u' {
			if pair := utf16.DecodeRune(r, hexUnit(inner[2:6])); pair != utf8.RuneError {
				r, inner = pair, inner[6:]
			}
		}
		out = appendRune(out, r)
	}
	return string(out)
}

// unescaped is the character that an escape of two characters stands for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return c // quote, backslash, slash
	}
}

func hexUnit(digits []byte) rune {
	unit, err := strconv.ParseUint(string(digits), 16, 16)
	if err != nil {
		panic(err) // the decoder has checked the string
	}
	return rune(unit)
}

func appendRune(out []byte, r rune) []byte {
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(out, r)
	}
	return append(out, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0xbf, 0x80|byte(r)&0xbf)
}

// compareValues returns whether two values are the same, and if not where they
// first differ (a path from the value, empty for itself) and what stands there.
func compareValues(a, b value, o Options) (at, x, y string, same bool) {
	switch {
	case a.kind != b.kind:
		return "", a.String(), b.String(), false
	case a.kind == '{':
		return compareObjects(a, b, o)
	case a.kind == '[':
		return compareArrays(a, b, o)
	case a.kind == '0':
		same = sameNumber(a.text, b.text, o.Numbers)
	default:
		same = a.text == b.text
	}
	return "", a.String(), b.String(), same
}

func compareArrays(a, b value, o Options) (at, x, y string, same bool) {
	for i := range min(len(a.items), len(b.items)) {
		if at, x, y, same := compareValues(a.items[i], b.items[i], o); !same {
			return fmt.Sprintf("[%d]%s", i, at), x, y, false
		}
	}
	return "", a.String(), b.String(), len(a.items) == len(b.items)
}

func compareObjects(a, b value, o Options) (at, x, y string, same bool) {
	membersA, membersB := a.members, b.members
	if o.AnyKeyOrder {
		membersA, membersB = sorted(membersA), sorted(membersB)
	}
	for i := range min(len(membersA), len(membersB)) {
		ma, mb := membersA[i], membersB[i]
		if ma.name != mb.name {
			return fmt.Sprintf("(key %d)", i), strconv.Quote(ma.name), strconv.Quote(mb.name), false
		}
		if at, x, y, same := compareValues(ma.value, mb.value, o); !same {
			return "." + ma.name + at, x, y, false
		}
	}
	return "", a.String(), b.String(), len(membersA) == len(membersB)
}

// sorted is the members by name; those of the same name keep their order, because
// the last of them is the one that counts.
func sorted(members []member) []member {
	members = slices.Clone(members)
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return members
}

func sameNumber(a, b string, n Numbers) bool {
	if a == b {
		return true
	}
	if n == Text {
		return false
	}
	if n == Value {
		whole, isWhole := new(big.Int).SetString(a, 10)
		other, otherIsWhole := new(big.Int).SetString(b, 10)
		if isWhole && otherIsWhole {
			return whole.Cmp(other) == 0
		}
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// String is the value as JSON, near enough to read it.
func (v value) String() string {
	switch v.kind {
	case '"':
		return strconv.Quote(v.text)
	case '{':
		return fmt.Sprintf("{%d keys}", len(v.members))
	case '[':
		return fmt.Sprintf("[%d items]", len(v.items))
	default:
		return v.text
	}
}
