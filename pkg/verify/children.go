package verify

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// children reads the members of an object or the elements of an array, as written.
type children struct {
	container []byte
	dec       *jsontext.Decoder
	inObject  bool
}

func newChildren(container []byte) (*children, error) {
	c := &children{container: container, dec: newDecoder(bytes.NewBuffer(container))}
	open, err := c.dec.ReadToken()
	if err != nil {
		return nil, errBody(err)
	}
	c.inObject = open.Kind() == '{'
	return c, nil
}

// next returns the next child; ok is false behind the last. Elements have no name.
// What it returns are parts of the container.
func (c *children) next() (name, value []byte, ok bool, err error) {
	switch c.dec.PeekKind() {
	case '}', ']':
		return nil, nil, false, nil
	}
	if c.inObject {
		if name, err = c.read(); err != nil {
			return nil, nil, false, err
		}
	}
	value, err = c.read()
	return name, value, err == nil, err
}

// read returns the next value as a part of the container, which stays as it is
// when the decoder goes on.
func (c *children) read() ([]byte, error) {
	value, err := c.dec.ReadValue()
	if err != nil {
		return nil, errBody(err)
	}
	end := c.dec.InputOffset()
	return c.container[end-int64(len(value)) : end], nil
}

func errBody(err error) error { return fmt.Errorf("read body: %w", err) }
