package couch

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"millrace/pkg/rawdoc"
)

// related reads a multipart/related body, a document and the attachments that it
// announces, by what the document says of them. mime/multipart cannot: CouchDB writes the
// name and the type of an attachment into the part's headers as they are, so that line
// breaks in them make headers that no parser takes, and an empty line in them ends the
// headers for everybody who does not know what they are to say.
type related struct {
	from     *bufio.Reader
	boundary []byte // with its leading dashes
	current  *attachmentReader
	ended    bool // the last boundary was read
}

func newRelated(from io.Reader, boundary string) *related {
	return &related{from: bufio.NewReader(from), boundary: []byte("--" + boundary)}
}

// document reads the first part.
func (r *related) document() ([]byte, error) {
	if _, err := r.lines(); err != nil { // a preamble
		return nil, err
	}
	if err := r.passHeader(); err != nil {
		return nil, err
	}
	doc, err := r.lines()
	return bytes.TrimSuffix(doc, []byte("\r\n")), err
}

// lines reads up to a line that is a boundary, and returns what precedes it.
func (r *related) lines() ([]byte, error) {
	var read []byte
	for {
		line, err := r.from.ReadBytes('\n')
		if (len(read) == 0 || bytes.HasSuffix(read, []byte("\r\n"))) && r.isBoundary(line, err) {
			return read, nil
		}
		if err != nil {
			return nil, unexpectEOF(err)
		}
		read = append(read, line...)
	}
}

// isBoundary reports whether the line is a boundary; it notes the last one, which is
// the only one that may be the end of all, with the error io.EOF.
func (r *related) isBoundary(line []byte, err error) bool {
	rest, ok := bytes.CutPrefix(line, r.boundary)
	if !ok {
		return false
	}
	switch string(bytes.TrimRight(rest, " \t\r\n")) {
	case "":
		return err == nil
	case "--":
		r.ended = true
		return true
	}
	return false
}

// passHeader reads a part's headers and the empty line behind them. Headers that are
// known are passed over whole, whatever they hold.
func (r *related) passHeader(known ...string) error {
	for {
		if r.passKnown(known) {
			continue
		}
		empty, err := r.passLine()
		if err != nil || empty {
			return err
		}
	}
}

// passKnown passes over one of the known headers, if one is what follows.
func (r *related) passKnown(known []string) bool {
	for _, header := range known {
		// What is too short for it shows when the next line is read.
		if next, _ := r.from.Peek(len(header)); string(next) == header {
			_, err := r.from.Discard(len(header))
			return err == nil
		}
	}
	return false
}

// passLine passes over a line and reports whether it was empty.
func (r *related) passLine() (empty bool, err error) {
	line, err := r.from.ReadSlice('\n')
	empty = err == nil && string(line) == "\r\n"
	for err == bufio.ErrBufferFull {
		_, err = r.from.ReadSlice('\n')
	}
	return empty, unexpectEOF(err)
}

// attachment reads up to the content of the next part, which is that of a. It ends
// the reading of the one before.
func (r *related) attachment(a rawdoc.Attachment) (io.Reader, error) {
	if r.current != nil {
		if _, err := io.Copy(io.Discard, r.current); err != nil {
			return nil, err
		}
	}
	if a.StoredLength() < 0 {
		return nil, fmt.Errorf("%w: attachment %q has a negative length", errShape, a.Name)
	}
	if r.ended {
		return nil, fmt.Errorf("%w: attachment %q does not follow its document", errShape, a.Name)
	}
	known := []string{
		"Content-Disposition: attachment; filename=\"" + a.Name + "\"\r\n",
		"Content-Type: " + a.ContentType + "\r\n",
	}
	for _, header := range known {
		r.from = bufio.NewReaderSize(r.from, len(header)) // it is left alone where it is large enough
	}
	if err := r.passHeader(known...); err != nil {
		return nil, err
	}
	r.current = &attachmentReader{parts: r, left: a.StoredLength()}
	return r.current, nil
}

// boundaryFollows reads the boundary behind an attachment's content.
func (r *related) boundaryFollows() error {
	line, err := r.from.ReadSlice('\n')
	if err == nil && string(line) == "\r\n" {
		line, err = r.from.ReadSlice('\n')
		if r.isBoundary(line, err) {
			return nil
		}
	}
	if err == nil || err == bufio.ErrBufferFull {
		return errTooLong
	}
	return unexpectEOF(err)
}

// attachmentReader reads the content of one part, whose length is known. Its end is
// one only where a boundary follows.
type attachmentReader struct {
	parts *related
	left  int64
	end   error // io.EOF or why it is none, once it is reached
}

// Read implements [io.Reader].
func (a *attachmentReader) Read(p []byte) (int, error) {
	if a.left == 0 && a.end == nil {
		a.end = io.EOF
		if err := a.parts.boundaryFollows(); err != nil {
			a.end = err
		}
	}
	if a.end != nil {
		return 0, a.end
	}
	n, err := a.parts.from.Read(p[:min(int64(len(p)), a.left)])
	a.left -= int64(n)
	if err != nil {
		a.end = unexpectEOF(err)
	}
	return n, a.end
}
