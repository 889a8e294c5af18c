package couch

import (
	"bufio"
	"bytes"
	"io"
)

// bareParts reads a multipart body with its parts' header lines left out. CouchDB
// writes an attachment's name into a header as it is, so that one with a line break
// makes headers that no parser takes, and one such document would stop a job. What
// the headers say the document says too. (A name with an empty line in it, ended as
// HTTP ends lines, is beyond help.)
type bareParts struct {
	from      *bufio.Reader
	delimiter []byte // the line before a part's headers
	rest      []byte // what was read and not handed out yet
	err       error  // what follows it
	midLine   bool   // what is read next does not begin a line
	inHeader  bool
}

func newBareParts(from io.Reader, boundary string) *bareParts {
	return &bareParts{from: bufio.NewReader(from), delimiter: []byte("--" + boundary + "\r\n")}
}

// Read implements [io.Reader].
func (b *bareParts) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.line()
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// line reads a line, or what of it fits into the buffer, and keeps it unless it is
// of a header.
func (b *bareParts) line() {
	line, err := b.from.ReadSlice('\n')
	begins := !b.midLine
	b.midLine = err == bufio.ErrBufferFull
	if err != nil && !b.midLine {
		b.err = err
	}
	switch {
	case !b.inHeader:
		b.rest = line
		b.inHeader = begins && bytes.Equal(line, b.delimiter)
	case begins && string(line) == "\r\n":
		b.rest = line
		b.inHeader = false
	}
}
