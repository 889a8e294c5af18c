package couch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Get returns the bytes of a document, with query parameters such as rev, revs and
// conflicts. A missing or deleted document is [IsNotFound].
func (db *DB) Get(ctx context.Context, id string, params url.Values) ([]byte, error) {
	r := db.request(http.MethodGet, docPath(id))
	r.query = params
	var doc []byte
	err := db.call(ctx, r, func(body io.Reader) (err error) {
		doc, err = io.ReadAll(body)
		return err
	})
	return doc, err
}

// Put writes a document as the next edit, and returns its revision. With
// new_edits=false in params the revision is the document's own.
func (db *DB) Put(ctx context.Context, id string, doc []byte, params url.Values) (string, error) {
	return db.write(ctx, docPath(id), params, doc)
}

// write puts a document at an escaped path and returns its revision.
func (db *DB) write(ctx context.Context, path string, params url.Values, doc []byte) (string, error) {
	r := db.request(http.MethodPut, path)
	r.query = params
	r.body = bytesBody(doc)
	return db.send(ctx, r)
}

// send makes a request that writes one document, and returns its revision.
func (db *DB) send(ctx context.Context, r *request) (string, error) {
	r.writes = writesDocument
	var answer json.RawMessage
	if err := db.call(ctx, r, into(&answer)); err != nil {
		return "", err
	}
	return revisionOf(answer)
}

// revisionOf reads the answer to a document's PUT. With new_edits=false, PouchDB
// answers as to _bulk_docs: with a list, and with refusals in it.
func revisionOf(answer []byte) (string, error) {
	var one *DocResult
	if json.Unmarshal(answer, &one) == nil && one != nil {
		return one.Rev, one.Failure()
	}
	var list []DocResult
	if err := json.Unmarshal(answer, &list); err != nil {
		return "", fmt.Errorf("%w: %w", errShape, err)
	}
	if list == nil {
		return "", fmt.Errorf("%w: null in place of a result", errShape)
	}
	rev := ""
	for _, r := range list {
		if r.Failure() != nil {
			return "", r.Failure()
		}
		rev = r.Rev
	}
	return rev, nil
}

// Attachment is the bytes of an attachment, as the server stores them.
type Attachment struct {
	ContentType string
	// Encoding is "gzip" where the stored bytes are compressed, otherwise empty.
	Encoding string
	// Length is the number of bytes to read, -1 if the server does not say.
	Length int64
	// ReadCloser reads the bytes. It fails with a [CutError] if they end too early.
	io.ReadCloser
}

// GetAttachment opens an attachment of a revision; an empty rev means the winning
// one. encoding is that of the stored bytes, as the document gives it with
// att_encoding_info=true: what is stored compressed is sent as it is, or the copy's digest
// would differ from the original's. The caller closes the result.
func (db *DB) GetAttachment(ctx context.Context, id, rev, name, encoding string) (*Attachment, error) {
	return db.GetAttachmentFrom(ctx, id, rev, name, encoding, 0)
}

// GetAttachmentFrom is [DB.GetAttachment] from an offset of the stored bytes on. Servers that
// can (CouchDB, for what it stores as it is) send the rest alone; of the others what precedes
// it is read and dropped.
func (db *DB) GetAttachmentFrom(ctx context.Context, id, rev, name, encoding string, offset int64) (*Attachment, error) {
	r := db.request(http.MethodGet, attachmentPath(id, name))
	if rev != "" {
		r.query = url.Values{"rev": {rev}}
	}
	r.header.Set("Accept", "*/*")
	// Either is said by ourselves, upon which net/http does not undo any encoding. Gzip
	// is not asked for where it is not stored: a proxy or PouchDB's server
	// would compress, and the answer would look the same.
	if encoding == "" {
		encoding = unencoded
	}
	r.header.Set("Accept-Encoding", encoding)
	if offset > 0 && encoding == unencoded {
		r.header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := db.open(ctx, r)
	if err != nil {
		return nil, err
	}
	a := &Attachment{
		ContentType: resp.Header.Get("Content-Type"),
		Encoding:    resp.Header.Get("Content-Encoding"),
		Length:      resp.ContentLength,
		ReadCloser:  &cutReader{ReadCloser: resp.Body, request: r},
	}
	if resp.StatusCode == http.StatusPartialContent {
		if begin := fmt.Sprintf("bytes %d-", offset); !strings.HasPrefix(resp.Header.Get("Content-Range"), begin) {
			return nil, errors.Join(r.cut(fmt.Errorf("%w: another range than %s", errShape, begin)), a.Close())
		}
		return a, nil
	}
	if _, err := io.CopyN(io.Discard, a, offset); err != nil {
		return nil, errors.Join(r.cut(err), a.Close())
	}
	if a.Length >= 0 {
		a.Length -= offset
	}
	return a, nil
}

// unencoded is the encoding of what is not compressed.
const unencoded = "identity"

// cutReader turns the errors of an answer's body into [CutError].
type cutReader struct {
	io.ReadCloser
	request *request
}

func (c *cutReader) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = c.request.cut(err)
	}
	return n, err
}
