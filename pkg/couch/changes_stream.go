package couch

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// Changes is an open feed. One row is in memory at a time (invariant 5). It is not
// safe for concurrent use, but for Close, which unblocks Next.
type Changes struct {
	body    io.ReadCloser
	request *request
	next    func() (line, error)
	ready   func() bool
	lastSeq Seq
	pending int64
	err     error
}

func newChanges(body io.ReadCloser, r *request, o ChangesOptions) *Changes {
	c := &Changes{body: body, request: r, pending: -1, lastSeq: NullSeq()}
	if o.Feed == FeedContinuous {
		f := newLineFeed(body, o.OnHeartbeat)
		c.next, c.ready = f.next, f.ready
		return c
	}
	f := newArrayFeed(body)
	c.next, c.ready = f.next, f.ready
	return c
}

// Close ends the feed, at whatever point it is.
func (c *Changes) Close() error { return c.body.Close() }

// Next returns the next row. At the feed's regular end it returns io.EOF, after which
// LastSeq and Pending are known. A feed that ends otherwise gives a [CutError]; the rows before it are valid, and
// the caller goes on from the last seq among them. Errors stay.
func (c *Changes) Next() (Row, error) {
	if c.err != nil {
		return Row{}, c.err
	}
	l, err := c.next()
	switch {
	case err == nil && l.failure != nil && !l.hasID:
		c.err = c.request.cut(l.failure)
	case err == nil && !l.isEnd:
		return l.row, nil
	case err == nil:
		c.lastSeq, c.pending, c.err = l.lastSeq, l.pending, io.EOF
	default:
		c.err = c.request.cut(err)
	}
	return Row{}, c.err
}

// Ready reports whether the next row has arrived already, so that Next will not wait for the
// network. A reader that batches rows sends off what it has when nothing more is ready.
func (c *Changes) Ready() bool { return c.err == nil && c.ready() }

// LastSeq is where the feed ended, null before its end. Unlike the last row's seq
// it is past the rows that a filter left out.
func (c *Changes) LastSeq() Seq { return c.lastSeq }

// Pending is how many rows were left when the feed ended, -1 if it is not known.
func (c *Changes) Pending() int64 { return c.pending }

// arrayFeed is a normal or longpoll feed: {"results": [rows], "last_seq": ...}.
type arrayFeed struct {
	dec    *jsontext.Decoder
	opened bool
	end    line // what stands beside the rows
}

func newArrayFeed(body io.Reader) *arrayFeed {
	return &arrayFeed{dec: newDecoder(body), end: line{isEnd: true, lastSeq: NullSeq(), pending: -1}}
}

func (f *arrayFeed) next() (line, error) {
	if !f.opened {
		if err := f.open(); err != nil {
			return line{}, unexpectEOF(err)
		}
		f.opened = true
	}
	if f.dec.PeekKind() != ']' {
		l, err := rowReader{f.dec}.object()
		if err == nil && l.isEnd { // stands behind the rows, never among them
			err = fmt.Errorf("%w: last_seq in a row", errShape)
		}
		return l, unexpectEOF(err)
	}
	err := unexpectEOF(f.finish())
	return f.end, err
}

// open reads up to the first row.
func (f *arrayFeed) open() error {
	if err := expectKind(f.dec, '{'); err != nil {
		return err
	}
	for f.dec.PeekKind() == '"' {
		name, err := f.dec.ReadToken()
		if err != nil {
			return err
		}
		if name.String() == "results" {
			return expectKind(f.dec, '[')
		}
		if err := (rowReader{f.dec}).member(&f.end, name.String()); err != nil {
			return err
		}
	}
	if f.end.failure != nil {
		return f.end.failure
	}
	return fmt.Errorf("%w: no results", errShape)
}

// finish reads what follows the rows, up to the end of the answer.
func (f *arrayFeed) finish() error {
	if err := expectKind(f.dec, ']'); err != nil {
		return err
	}
	for f.dec.PeekKind() == '"' {
		name, err := f.dec.ReadToken()
		if err != nil {
			return err
		}
		if err := (rowReader{f.dec}).member(&f.end, name.String()); err != nil {
			return err
		}
	}
	return expectKind(f.dec, '}')
}

// ready looks for another whole row, which cannot be told from brackets alone: a comma with
// something behind it is what can be seen without parsing, and a server sends a row at once.
func (f *arrayFeed) ready() bool {
	return len(bytes.TrimLeft(f.dec.UnreadBuffer(), ", \r\n\t")) > 0
}

// lineBuffer is a continuous feed's buffer in bytes; longer lines are put together.
const lineBuffer = 64 << 10

// lineFeed is a continuous feed: a row a line, and empty lines for heartbeats.
type lineFeed struct {
	in          *bufio.Reader
	long        []byte // a line longer than the buffer
	onHeartbeat func()
	dec         *jsontext.Decoder
}

func newLineFeed(body io.Reader, onHeartbeat func()) *lineFeed {
	if onHeartbeat == nil {
		onHeartbeat = func() {}
	}
	return &lineFeed{in: bufio.NewReaderSize(body, lineBuffer), onHeartbeat: onHeartbeat, dec: newDecoder(new(bytes.Buffer))}
}

func (f *lineFeed) next() (line, error) {
	text, err := f.text()
	if err != nil {
		return line{}, err
	}
	f.dec.Reset(bytes.NewBuffer(text), f.dec.Options())
	l, err := rowReader{f.dec}.object()
	if err == nil && f.dec.InputOffset() < int64(len(text)) {
		err = fmt.Errorf("%w: more than one row in a line", errShape)
	}
	return l, unexpectEOF(err)
}

// text returns the next line that is no heartbeat. It is valid until the next call.
func (f *lineFeed) text() ([]byte, error) {
	for {
		text, err := f.line()
		if err != nil {
			// A feed without an end line was cut, even between two lines.
			return nil, unexpectEOF(err)
		}
		if len(text) > 0 {
			return text, nil
		}
		f.onHeartbeat()
	}
}

// line returns the next line without white space around it. It is valid until the next call.
func (f *lineFeed) line() ([]byte, error) {
	f.long = f.long[:0]
	for {
		part, err := f.in.ReadSlice('\n')
		switch {
		case err == nil && len(f.long) == 0:
			return bytes.TrimSpace(part), nil
		case err == nil:
			f.long = append(f.long, part...)
			return bytes.TrimSpace(f.long), nil
		case err != bufio.ErrBufferFull && (err != io.EOF || len(f.long)+len(part) == 0):
			return nil, err
		}
		f.long = append(f.long, part...)
		if err == io.EOF { // a last line without its end: the parser says whether it is whole
			return bytes.TrimSpace(f.long), nil
		}
	}
}

// ready reports whether a whole line that is not a heartbeat is in the buffer.
func (f *lineFeed) ready() bool {
	buffered, _ := f.in.Peek(f.in.Buffered()) // it is there
	buffered = bytes.TrimLeft(buffered, "\r\n")
	return bytes.IndexByte(buffered, '\n') >= 0
}
