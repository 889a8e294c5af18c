package writer

import (
	"context"
	"encoding/base64"
	"errors"
	"io"

	"millrace/pkg/couch"
	"millrace/pkg/rawdoc"
)

// plainInlineBytes is how large the attachments of a document may be together, decoded,
// to travel inside it. As much is in memory at once, and in Base64 a third more
// (invariant 5).
const plainInlineBytes = 1 << 20

// plain writes a document with its attachments to a server that knows of no stored
// encodings (see [dialects]): decoded, and inside the document where they are small.
// Those servers take the names of multipart attachments from the parts' headers, which
// not all names can stand in, so that only what is large goes that way.
func (a *apply) plain(ctx context.Context, db uploader, d document, uploads []couch.Upload) error {
	doc, decoded, err := decode(d.bytes, uploads)
	if errors.Is(err, errNotGzipped) {
		a.rejected = append(a.rejected, rejection(d, 0, "bad_attachment", err.Error()))
		return nil
	}
	if err != nil {
		return err
	}
	if size(decoded) > plainInlineBytes {
		return a.put(ctx, db, document{d.ref, doc}, decoded)
	}
	if doc, err = inline(doc, decoded); err != nil {
		return err
	}
	return a.write(ctx, []document{{d.ref, doc}})
}

func size(uploads []couch.Upload) int64 {
	var n int64
	for _, u := range uploads {
		n += u.Length
	}
	return n
}

// inline puts the attachments that follow a document into it.
func inline(doc []byte, uploads []couch.Upload) ([]byte, error) {
	meta, err := rawdoc.Scan(doc)
	if err != nil {
		return nil, err
	}
	entries := make([]rawdoc.Attachment, len(uploads))
	for i, u := range uploads {
		data, err := encode(u)
		if err != nil {
			return nil, err
		}
		entries[i] = rawdoc.Attachment{Name: u.Name, ContentType: u.ContentType, RevPos: revpos(meta, u.Name), Data: data}
	}
	return rawdoc.SetAttachments(doc, entries)
}

// encode is an attachment's content in Base64; never nil.
func encode(u couch.Upload) ([]byte, error) {
	content, err := u.Open()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(content)
	if err := errors.Join(err, content.Close()); err != nil {
		return nil, err
	}
	return base64.StdEncoding.AppendEncode([]byte{}, text), nil
}
