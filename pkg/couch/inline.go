package couch

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"millrace/pkg/rawdoc"
)

// PutInline is [DB.PutMultipart] with the attachments inside of the document, in Base64.
// They are streamed all the same, and the server has to hold all of it. None may have an
// encoding: a server stores it as if its bytes were the content.
func (db *DB) PutInline(ctx context.Context, id string, doc []byte, atts []Upload) error {
	ordered, err := inOrder(doc, atts)
	if err != nil {
		return err
	}
	pieces, err := inlinePieces(doc, ordered)
	if err != nil {
		return err
	}
	r := db.request(http.MethodPut, docPath(id))
	r.query = url.Values{"new_edits": {"false"}}
	r.body = piecesBody(pieces)
	_, err = db.send(ctx, r)
	return err
}

// inlinePieces are the document's text with the attachments' contents between.
func inlinePieces(doc []byte, atts []Upload) ([]piece, error) {
	meta, err := rawdoc.Scan(doc)
	if err != nil {
		return nil, err
	}
	mark := rand.Text() // in the place of contents; in no document by chance
	entries := meta.Following()
	for i := range entries {
		entries[i].Data, entries[i].Digest = markOf(mark, i), ""
	}
	if doc, err = rawdoc.SetAttachments(doc, entries); err != nil {
		return nil, err
	}
	var pieces []piece
	for i, a := range atts {
		before, after, _ := bytes.Cut(doc, markOf(mark, i))
		pieces = append(pieces, bytesPiece(before), base64Piece(uploadPiece(a)))
		doc = after
	}
	return append(pieces, bytesPiece(doc)), nil
}

func markOf(mark string, i int) []byte { return []byte(mark + "." + strconv.Itoa(i) + ".") }

// base64Piece is a piece in Base64.
func base64Piece(p piece) piece {
	return piece{length: base64Length(p.length), open: func() (io.ReadCloser, error) {
		rc, err := p.open()
		if err != nil {
			return nil, err
		}
		return readCloser{&base64Reader{from: rc}, rc}, nil
	}}
}

func base64Length(n int64) int64 { return (n + 2) / 3 * 4 }

// base64Reader encodes what it reads.
type base64Reader struct {
	from io.Reader
	in   [3 << 10]byte // whole groups of three, but for the last
	rest []byte
	out  []byte
}

func (b *base64Reader) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		n, err := io.ReadFull(b.from, b.in[:])
		if err != nil && err != io.ErrUnexpectedEOF { // which is the last group; one of the upload's own is wrapped
			return 0, err
		}
		b.out = base64.StdEncoding.AppendEncode(b.out[:0], b.in[:n])
		b.rest = b.out
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
