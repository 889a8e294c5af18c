package couch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"millrace/pkg/rawdoc"
)

// ErrAttachments is wrapped by errors about attachments that do not agree with
// their document. Nothing was sent.
var ErrAttachments = errors.New("attachments do not agree with the document")

// Upload is an attachment to send.
type Upload struct {
	Name        string
	ContentType string
	// Encoding is "gzip" if the bytes are compressed and are to be stored as they
	// are, otherwise empty. PouchDB's server ignores it ([ServerInfo.IsPouchDB]).
	Encoding string
	// Length is the number of bytes that Open gives.
	Length int64
	// Open returns the bytes. It is called when the attachment's turn comes, and
	// again if the request is sent again.
	Open func() (io.ReadCloser, error)
}

// PutMultipart writes a revision of a document as it is (new_edits=false) together
// with its attachments, which are streamed. doc holds `_revisions` and, for each
// of atts, an entry that says `follows`. Without atts it is a plain request.
//
// The error wraps [ErrAttachments] if the two do not agree. An Upload that ends too
// early or too late breaks the request, with its own error inside of a [RequestError].
func (db *DB) PutMultipart(ctx context.Context, id string, doc []byte, atts []Upload) error {
	ordered, err := inOrder(doc, atts)
	if err != nil {
		return err
	}
	params := url.Values{"new_edits": {"false"}}
	if len(ordered) == 0 {
		_, err := db.write(ctx, docPath(id), params, doc)
		return err
	}
	r := db.request(http.MethodPut, docPath(id))
	r.query = params
	boundary := multipart.NewWriter(io.Discard).Boundary() // random
	r.header.Set("Content-Type", `multipart/related; boundary="`+boundary+`"`)
	r.body = relatedBody(boundary, doc, ordered)
	_, err = db.send(ctx, r)
	return err
}

// inOrder sorts the attachments by the document's list, which is how servers
// tell them apart.
func inOrder(doc []byte, atts []Upload) ([]Upload, error) {
	meta, err := rawdoc.Scan(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAttachments, err)
	}
	byName := make(map[string]Upload, len(atts))
	for _, a := range atts {
		byName[a.Name] = a
	}
	var ordered []Upload
	for _, follows := range meta.Following() {
		a, ok := byName[follows.Name]
		if !ok {
			return nil, fmt.Errorf("%w: %q follows, but is not there", ErrAttachments, follows.Name)
		}
		if a.Length != follows.StoredLength() {
			return nil, fmt.Errorf("%w: %q has %d bytes in place of %d", ErrAttachments, a.Name, a.Length, follows.StoredLength())
		}
		ordered = append(ordered, a)
	}
	if len(ordered) != len(atts) {
		return nil, fmt.Errorf("%w: %d follow, %d are there", ErrAttachments, len(ordered), len(atts))
	}
	return ordered, nil
}

// relatedBody is the document and its attachments in the form in which CouchDB's
// replicator sends them.
func relatedBody(boundary string, doc []byte, atts []Upload) body {
	delimiter := "--" + boundary
	pieces := []piece{bytesPiece([]byte(delimiter + "\r\nContent-Type: application/json\r\n\r\n")), bytesPiece(doc)}
	for _, a := range atts {
		pieces = append(pieces, bytesPiece([]byte("\r\n"+delimiter+attachmentHeader(a))), uploadPiece(a))
	}
	pieces = append(pieces, bytesPiece([]byte("\r\n"+delimiter+"--")))
	return piecesBody(pieces)
}

// piecesBody is the pieces one after another.
func piecesBody(pieces []piece) body {
	b := body{open: func() (io.ReadCloser, error) { return &pieceReader{pieces: pieces}, nil }}
	for _, p := range pieces {
		b.length += p.length
	}
	return b
}

func attachmentHeader(a Upload) string {
	h := "\r\nContent-Disposition: attachment; filename=\"" + quotedText(a.Name) + "\"" +
		"\r\nContent-Type: " + headerText(a.ContentType) +
		"\r\nContent-Length: " + strconv.FormatInt(a.Length, 10)
	if a.Encoding != "" && a.Encoding != "identity" {
		h += "\r\nContent-Encoding: " + headerText(a.Encoding)
	}
	return h + "\r\n\r\n"
}

// headerText keeps a value from ending its header, and out of it what no header may hold.
func headerText(value string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, value)
}

// quotedText escapes a name as HTML forms do, and other control characters in that way,
// too. CouchDB looks at the name in the document only, PouchDB's server at this one.
func quotedText(name string) string {
	var out strings.Builder
	for _, r := range name {
		switch {
		case r == '"' || r < ' ' || r == '\x7f':
			fmt.Fprintf(&out, "%%%02X", r)
		case unicode.IsControl(r):
			out.WriteByte('_')
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// piece is a part of a body, opened when its turn comes.
type piece struct {
	length int64
	open   func() (io.ReadCloser, error)
}

func bytesPiece(b []byte) piece {
	return piece{length: int64(len(b)), open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

func uploadPiece(a Upload) piece {
	return piece{length: a.Length, open: func() (io.ReadCloser, error) {
		rc, err := a.Open()
		if err != nil {
			return nil, fmt.Errorf("open attachment %q: %w", a.Name, err)
		}
		fail := func(err error) error { return fmt.Errorf("attachment %q: %w", a.Name, err) }
		return readCloser{&exactReader{from: rc, left: a.Length, fail: fail}, rc}, nil
	}}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// pieceReader reads pieces one after another, one open at a time (invariant 5).
type pieceReader struct {
	pieces []piece
	now    io.ReadCloser
}

func (p *pieceReader) Read(b []byte) (int, error) {
	for {
		if p.now == nil {
			if len(p.pieces) == 0 {
				return 0, io.EOF
			}
			var err error
			if p.now, err = p.pieces[0].open(); err != nil {
				p.now = nil
				return 0, err
			}
			p.pieces = p.pieces[1:]
		}
		n, err := p.now.Read(b)
		if err == io.EOF {
			err = p.Close()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close closes the piece that is open.
func (p *pieceReader) Close() error {
	if p.now == nil {
		return nil
	}
	err := p.now.Close()
	p.now = nil
	return err
}
