package rawdoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// walker steps over the members of an object or the elements of an array and
// hands out their bytes. The zero value is ready.
type walker struct {
	buf  bytes.Buffer
	opts []jsontext.Options
	dec  *jsontext.Decoder
}

// reset points the decoder at raw itself: jsontext parses a bytes.Buffer in place.
func (w *walker) reset(raw []byte) {
	w.buf = *bytes.NewBuffer(raw)
	if w.dec == nil {
		// CouchDB stores repeated names and invalid UTF-8, so they must pass (invariant 7).
		w.opts = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
		w.dec = jsontext.NewDecoder(&w.buf, w.opts...)
		return
	}
	w.dec.Reset(&w.buf, w.opts...)
}

// members calls visit with the unquoted name and the raw value of every member
// of the object raw, in order. Both alias raw or memory that only lives until the
// next call, so a visitor copies what it keeps of name; value always aliases raw.
func (w *walker) members(raw []byte, visit func(name, value []byte) error) error {
	return w.each(raw, '{', func() error {
		quoted, err := w.dec.ReadValue()
		if err != nil {
			return err
		}
		name := unquote(quoted)
		value, err := w.value(raw)
		if err != nil {
			return err
		}
		return visit(name, value)
	})
}

// elements calls visit with the raw value of every element of the array raw.
func (w *walker) elements(raw []byte, visit func(value []byte) error) error {
	return w.each(raw, '[', func() error {
		value, err := w.value(raw)
		if err != nil {
			return err
		}
		return visit(value)
	})
}

// value reads the next value and returns it as a part of raw that cannot grow
// into what stands behind it.
func (w *walker) value(raw []byte) ([]byte, error) {
	value, err := w.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := w.dec.InputOffset()
	return raw[end-int64(len(value)) : end : end], nil
}

func (w *walker) each(raw []byte, open jsontext.Kind, item func() error) error {
	w.reset(raw)
	if kind := w.dec.PeekKind(); kind != open && kind != jsontext.KindInvalid {
		return fmt.Errorf("%w: it starts with %s", ErrNotDocument, kind)
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return unexpectedEOF(err)
	}
	for {
		switch w.dec.PeekKind() {
		case '}', ']':
			if _, err := w.dec.ReadToken(); err != nil {
				return unexpectedEOF(err)
			}
			return w.end()
		}
		if err := item(); err != nil {
			return unexpectedEOF(err)
		}
	}
}

// end checks that nothing but white space follows.
func (w *walker) end() error {
	_, err := w.dec.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: something follows it", ErrNotDocument)
}

// unexpectedEOF says that raw ended too early: a plain EOF would read as success.
func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
