package millpond

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// scanOptions: duplicate names come out as they went in (invariant 7); text that
// is not UTF-8 is refused, as CouchDB does.
var scanOptions = jsontext.AllowDuplicateNames(true)

// scan is a decoder over a text, kept for the next text: a bulk request makes
// thousands.
type scan struct {
	dec jsontext.Decoder
	buf bytes.Buffer
}

var scans = sync.Pool{New: func() any { return new(scan) }}

func newScan(text []byte) *scan {
	s := scans.Get().(*scan)
	s.buf = *bytes.NewBuffer(text)
	s.dec.Reset(&s.buf, scanOptions)
	return s
}

func (s *scan) free() {
	s.buf = bytes.Buffer{} // keep no request alive
	s.dec.Reset(&s.buf, scanOptions)
	scans.Put(s)
}

// member is one member of an object: its name and where it stands in the text.
type member struct {
	name       string // set only if wanted, see eachMember
	start, end int    // from the name's first quote to the value's end
	value      jsontext.Value
}

// eachMember calls visit for every member of a JSON object, and fails if text is
// not exactly one object (errNotObject if it is something else). For members
// whose name does not pass wanted, the name is left empty, which spares a copy.
// The slices are parts of text.
func eachMember(text []byte, wanted func(quoted []byte) bool, visit func(m member) error) error {
	scan := newScan(text)
	defer scan.free()
	dec := &scan.dec
	if dec.PeekKind() != '{' {
		if _, err := dec.ReadValue(); err != nil {
			return errBadJSON
		}
		return errNotObject
	}
	if _, err := dec.ReadToken(); err != nil {
		return errBadJSON
	}
	for dec.PeekKind() != '}' {
		m, err := nextMember(dec, text, wanted)
		if err != nil {
			return err
		}
		if err := visit(m); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return errBadJSON
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errBadJSON
	}
	return nil
}

func nextMember(dec *jsontext.Decoder, text []byte, wanted func([]byte) bool) (member, error) {
	quoted, err := dec.ReadValue()
	if err != nil {
		return member{}, errBadJSON
	}
	var m member
	m.start = int(dec.InputOffset()) - len(quoted)
	if wanted(quoted) {
		name, ok := stringValue(quoted)
		if !ok {
			return member{}, errBadJSON
		}
		m.name = name
	}
	value, err := dec.ReadValue()
	if err != nil {
		return member{}, errBadJSON
	}
	m.end = int(dec.InputOffset())
	m.value = jsontext.Value(text[m.end-len(value) : m.end])
	return m, nil
}

// eachElement calls visit for every element of a JSON array that is known to be
// well-formed. It does nothing with anything else.
func eachElement(array []byte, visit func(value jsontext.Value) error) error {
	scan := newScan(array)
	defer scan.free()
	dec := &scan.dec
	if dec.PeekKind() != '[' {
		return nil
	}
	if _, err := dec.ReadToken(); err != nil {
		return errBadJSON
	}
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return errBadJSON
		}
		end := int(dec.InputOffset())
		if err := visit(array[end-len(value) : end]); err != nil {
			return err
		}
	}
	return nil
}

func all([]byte) bool { return true }

// mayBeSpecial says whether a quoted member name can begin with an underscore.
func mayBeSpecial(quoted []byte) bool {
	return len(quoted) > 1 && quoted[1] == '_' || bytes.IndexByte(quoted, '\\') >= 0
}

// decode reads JSON into a Go value, duplicate names allowed.
func decode(text []byte, into any) error {
	if err := json.Unmarshal(text, into, scanOptions); err != nil {
		return errBadJSON
	}
	return nil
}

// stringValue reads a well-formed JSON string; ok is false for any other value.
func stringValue(v jsontext.Value) (s string, ok bool) {
	if v.Kind() != '"' {
		return "", false
	}
	if bytes.IndexByte(v, '\\') < 0 && len(v) > 1 {
		return string(v[1 : len(v)-1]), true
	}
	text, err := jsontext.AppendUnquote(nil, v)
	return string(text), err == nil
}
