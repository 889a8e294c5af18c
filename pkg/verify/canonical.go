package verify

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// canonicalizer writes JSON values in a form that is the same for values that mean
// the same: the order of an object's members does not matter, numbers count by their
// decimal value (see appendNumber) and strings by what they say (see appendText). A
// name that an object has twice stays twice, in that order. It keeps its memory
// between values; the zero value is ready.
type canonicalizer struct {
	in      bytes.Buffer
	dec     *jsontext.Decoder
	members []member // of the objects that are open, the innermost last
	scratch []byte
}

// member is where in the output a member of an object is.
type member struct {
	start, value, end int
}

// decode starts to read text. CouchDB stores repeated names and invalid UTF-8, so they
// must pass (invariant 7).
func (c *canonicalizer) decode(text []byte) {
	c.in = *bytes.NewBuffer(text) // jsontext reads a buffer in place
	c.members = c.members[:0]
	if c.dec == nil {
		c.dec = newDecoder(&c.in)
		return
	}
	c.dec.Reset(&c.in, c.dec.Options())
}

func newDecoder(from io.Reader) *jsontext.Decoder {
	return jsontext.NewDecoder(from, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// append appends the form of a value to dst.
func (c *canonicalizer) append(dst, value []byte) ([]byte, error) {
	c.decode(value)
	return c.value(dst)
}

// appendBody appends the form of what of a document is its writer's own.
func (c *canonicalizer) appendBody(dst, doc []byte) ([]byte, error) {
	c.decode(doc)
	return c.object(dst, isProtocol)
}

// isProtocol tells the members that are compared otherwise, or are how the document was found.
func isProtocol(name []byte) bool {
	switch string(name) {
	case "_id", "_rev", "_revisions", "_deleted", "_attachments":
		return true
	}
	return false
}

func (c *canonicalizer) value(dst []byte) ([]byte, error) {
	switch c.dec.PeekKind() {
	case '{':
		return c.object(dst, nil)
	case '[':
		return c.array(dst)
	}
	raw, err := c.dec.ReadValue()
	if err != nil {
		return dst, err
	}
	return appendScalar(dst, raw), nil
}

// appendScalar appends the kind, and behind it what of strings and numbers is
// between its length and its end, so that no two rows of values have one form.
func appendScalar(dst []byte, raw jsontext.Value) []byte {
	kind := raw.Kind()
	dst = append(dst, byte(kind))
	switch kind {
	case '"':
		return delimited(dst, raw, appendText)
	case '0':
		return delimited(dst, raw, appendNumber)
	}
	return dst
}

// lengthBytes is what a length takes in the form of a value.
const lengthBytes = 8

func delimited(dst, raw []byte, write func(dst, raw []byte) []byte) []byte {
	at := len(dst)
	dst = write(append(dst, make([]byte, lengthBytes)...), raw)
	binary.BigEndian.PutUint64(dst[at:], uint64(len(dst)-at-lengthBytes))
	return dst
}

func (c *canonicalizer) array(dst []byte) ([]byte, error) {
	if _, err := c.dec.ReadToken(); err != nil {
		return dst, err
	}
	dst = append(dst, '[')
	for c.dec.PeekKind() != ']' {
		var err error
		if dst, err = c.value(dst); err != nil {
			return dst, err
		}
	}
	_, err := c.dec.ReadToken()
	return append(dst, ']'), err
}

// object appends the members in the order of their names. The members of the
// objects around it stand before its own in c.members.
func (c *canonicalizer) object(dst []byte, omit func(name []byte) bool) ([]byte, error) {
	if _, err := c.dec.ReadToken(); err != nil {
		return dst, err
	}
	dst = append(dst, '{')
	outer := len(c.members)
	for c.dec.PeekKind() != '}' {
		m := member{start: len(dst)}
		name, err := c.dec.ReadValue()
		if err != nil {
			return dst, err
		}
		dst = delimited(dst, name, appendText)
		m.value = len(dst)
		if omit != nil && omit(dst[m.start+lengthBytes:]) {
			dst = dst[:m.start]
			err = c.dec.SkipValue()
		} else {
			dst, err = c.value(dst)
			m.end = len(dst)
			c.members = append(c.members, m)
		}
		if err != nil {
			return dst, err
		}
	}
	c.arrange(dst, c.members[outer:])
	c.members = c.members[:outer]
	_, err := c.dec.ReadToken()
	return append(dst, '}'), err
}

// arrange puts the members at the end of out into the order of their names.
func (c *canonicalizer) arrange(out []byte, members []member) {
	byName := func(a, b member) int {
		return cmp.Or(bytes.Compare(out[a.start:a.value], out[b.start:b.value]), cmp.Compare(a.start, b.start))
	}
	if slices.IsSortedFunc(members, byName) {
		return
	}
	at := members[0].start
	slices.SortFunc(members, byName)
	c.scratch = c.scratch[:0]
	for _, m := range members {
		c.scratch = append(c.scratch, out[m.start:m.end]...)
	}
	copy(out[at:], c.scratch)
}
