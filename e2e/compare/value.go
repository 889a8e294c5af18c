package compare

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
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
