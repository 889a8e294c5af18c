package couch

import (
	"bytes"
	"errors"
	"io"
)

// errTooLong is the cause of a [CutError] of an attachment that is longer than announced.
var errTooLong = errors.New("longer than announced")

// exactReader reads exactly left bytes and fails if there are fewer or more.
type exactReader struct {
	from io.Reader
	left int64
	fail func(error) error
}

func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	e.left -= int64(n)
	switch {
	case e.left < 0:
		return 0, e.fail(errTooLong)
	case err == io.EOF && e.left > 0:
		return n, e.fail(io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		return n, e.fail(err)
	}
	return n, err
}

// tailReader remembers the end of what was read. mime/multipart takes an answer that
// ends within the head of a part for one that is complete (invariant 1: a
// revision that was cut off must not look as if it did not exist).
type tailReader struct {
	from io.Reader
	tail []byte
	read int64 // bytes
}

// tailLength is how much is remembered, in bytes; boundaries have at most 70.
const tailLength = 128

func (t *tailReader) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	t.read += int64(n)
	t.tail = append(t.tail, p[max(0, n-tailLength):n]...)
	t.tail = t.tail[max(0, len(t.tail)-tailLength):]
	return n, err
}

// endsWith reads what is left and reports whether the whole ends with such a line.
func (t *tailReader) endsWith(end string) bool {
	if _, err := io.Copy(io.Discard, t); err != nil {
		return false
	}
	text, whole := bytes.CutSuffix(bytes.TrimRight(t.tail, "\r\n"), []byte(end))
	return whole && (bytes.HasSuffix(text, []byte("\n")) || len(text) == 0 && t.read == int64(len(t.tail)))
}
