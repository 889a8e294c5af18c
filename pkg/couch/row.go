package couch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Row is a change of a document.
type Row struct {
	ID string
	// Seq is where the feed stands after the row, null where the server left it out.
	Seq Seq
	// Revs are the revisions listed: the leaves, in StyleAllDocs.
	Revs []string
	// Deleted speaks of the winning revision only.
	Deleted bool
	// Doc is the winning revision's bytes, if they were asked for. They are the
	// caller's to keep.
	Doc []byte
}

// rowReader reads rows token by token, so that a row is never in memory twice.
type rowReader struct {
	dec *jsontext.Decoder
}

// line is what a line of a continuous feed says: a row, or the feed's end.
type line struct {
	row     Row
	hasID   bool
	isEnd   bool // the line has a last_seq
	lastSeq Seq
	pending int64
	failure *DocError
}

// object reads an object that may be a row or the line that ends a continuous feed.
func (r rowReader) object() (line, error) {
	l := line{row: Row{Seq: NullSeq()}, pending: -1}
	if err := expectKind(r.dec, '{'); err != nil {
		return l, err
	}
	for r.dec.PeekKind() == '"' {
		name, err := r.dec.ReadToken()
		if err != nil {
			return l, err
		}
		if err := r.member(&l, name.String()); err != nil {
			return l, unexpectEOF(err)
		}
	}
	if err := expectKind(r.dec, '}'); err != nil {
		return l, unexpectEOF(err)
	}
	if !l.hasID && !l.isEnd && l.failure == nil {
		return l, fmt.Errorf("%w: a row without an id", errShape)
	}
	return l, nil
}

func (r rowReader) member(l *line, name string) error {
	if name == "changes" {
		return r.revs(&l.row)
	}
	value, err := r.dec.ReadValue()
	if err != nil {
		return err
	}
	switch name {
	case "id":
		l.hasID = true
		l.row.ID, err = text(value)
	case "seq":
		l.row.Seq = seqOf(value)
	case "deleted":
		l.row.Deleted = string(value) == "true"
	case "doc":
		if value.Kind() == '{' { // null if the document vanished meanwhile
			l.row.Doc = bytes.Clone(value)
		}
	case "last_seq":
		l.isEnd, l.lastSeq = true, seqOf(value)
	case "pending":
		l.pending = count(value)
	case "error", "reason":
		l.fail(name, value)
	}
	return err
}

// fail keeps the error that a server writes into a feed that it has begun.
func (l *line) fail(name string, value jsontext.Value) {
	said := plainText(json.RawMessage(value))
	if l.failure == nil {
		l.failure = &DocError{}
	}
	if name == "error" {
		l.failure.Err = said
	} else {
		l.failure.Reason = said
	}
}

// revs reads [{"rev": ...}, ...].
func (r rowReader) revs(row *Row) error {
	if err := expectKind(r.dec, '['); err != nil {
		return err
	}
	for r.dec.PeekKind() == '{' {
		if err := expectKind(r.dec, '{'); err != nil {
			return err
		}
		for r.dec.PeekKind() == '"' {
			name, err := r.dec.ReadToken()
			if err != nil {
				return err
			}
			isRev := name.String() == "rev"
			value, err := r.dec.ReadValue()
			if err != nil {
				return err
			}
			if !isRev {
				continue
			}
			rev, err := text(value)
			if err != nil {
				return err
			}
			row.Revs = append(row.Revs, rev)
		}
		if err := expectKind(r.dec, '}'); err != nil {
			return err
		}
	}
	return expectKind(r.dec, ']')
}

// text is the text of a JSON string.
func text(value jsontext.Value) (string, error) {
	if value.Kind() != '"' {
		return "", fmt.Errorf("%w: %s in place of a string", errShape, value.Kind())
	}
	if plain := value[1 : len(value)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain), nil
	}
	out, _ := jsontext.AppendUnquote(nil, value) // the only error is invalid UTF-8, which is replaced
	return string(out), nil
}

// count is a number of things, -1 if the server does not know.
func count(value jsontext.Value) int64 {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return -1
	}
	return n
}
