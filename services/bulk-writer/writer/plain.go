package writer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"millrace/pkg/couch"
	"millrace/pkg/rawdoc"
)

const (
	// plainInlineBytes is how large the attachments of a document may be together, decoded,
	// to travel inside it with other documents. As much is in memory at once, and in Base64
	// a third more (invariant 5).
	plainInlineBytes = 1 << 20
	// plainStreamedBytes is how large they may be to be streamed into it. It is the server
	// that has all of it in memory, several times over.
	plainStreamedBytes = 64 << 20
	// plainPartBytes is how large the document may be that attachments follow: PouchDB's
	// server takes it for a field of a form, of which it takes 2 MiB.
	plainPartBytes = 2<<20 - 1<<10
)

// plain writes a document with its attachments to a server that knows of no stored
// encodings (see [dialects]): decoded, and inside the document where they are small.
// Those servers take the names of multipart attachments from the parts' headers, which
// not all names can stand in, so that only what is large goes that way, and of that what can.
func (a *apply) plain(ctx context.Context, db uploader, d document, uploads []couch.Upload) error {
	doc, decoded, err := decode(d.bytes, uploads)
	if errors.Is(err, errNotGzipped) {
		a.refuse(d, 0, "bad_attachment", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	d = document{d.ref, doc}
	switch total := size(decoded); {
	case total <= plainInlineBytes:
		if d.bytes, err = inline(doc, decoded); err != nil {
			return err
		}
		return a.write(ctx, []document{d})
	case len(doc) <= plainPartBytes && standInHeaders(decoded):
		return a.put(ctx, db.PutMultipart, d, decoded)
	case total <= plainStreamedBytes:
		return a.put(ctx, db.PutInline, d, decoded)
	default:
		a.refuse(d, http.StatusRequestEntityTooLarge, "attachment_too_large", fmt.Sprintf(
			"the target takes attachments of such names, or with such a document, inside the document only, and there %d bytes at most; these have %d",
			plainStreamedBytes, total))
		return nil
	}
}

// standInHeaders reports whether all names and types come out of a part's headers as they
// go into them. PouchDB's server cuts names at backslashes, decodes %22 and &#92; in them,
// and ends, of an error that nobody catches, at an attachment that has another name in the
// headers than in the document.
func standInHeaders(uploads []couch.Upload) bool {
	for _, u := range uploads {
		if u.Name == "" || strings.ContainsAny(u.Name, `\"%&`) || !standsInHeader(u.Name) || !standsInHeader(u.ContentType) {
			return false
		}
	}
	return true
}

// headerValueBytes is how long a name or a type may be: a part's headers have a limit of
// some thousand bytes.
const headerValueBytes = 1000

func standsInHeader(value string) bool {
	return len(value) <= headerValueBytes && strings.TrimSpace(value) == value && !strings.ContainsFunc(value, unicode.IsControl)
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
