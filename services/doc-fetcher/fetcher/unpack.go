package fetcher

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"

	"millrace/pkg/couch"
	"millrace/pkg/couchgzip"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
)

// unpackLimit is how many bytes the attachments of a document may have, unpacked, for it to be
// tried whether they can travel inside of it: to compress so much costs no more than the
// request of its own that is spared (ADR 019).
const unpackLimit = 64 << 10

// unpackable reports whether the attachments that follow a document might travel inside
// of it: they are small, and those that are stored compressed are of types that
// CouchDB compresses by itself.
func unpackable(m rawdoc.Meta) bool {
	size := int64(0)
	for _, a := range m.Following() {
		size += max(a.Length, a.StoredLength())
		switch {
		case size > unpackLimit:
			return false
		case a.Encoding == "" || a.Encoding == "identity":
		case a.Encoding != "gzip" || !couchgzip.Compressible(a.ContentType):
			return false
		}
	}
	return true
}

// follower is an attachment that follows its document, with its bytes as stored.
type follower struct {
	rawdoc.Attachment
	stored []byte
}

// small takes a document whose attachments are small: inside of which they travel, if the target
// will store them as the source does, and otherwise as they are.
func (f *fetch) small(ctx context.Context, rev *couch.OpenRev) error {
	m := rev.Meta
	var atts []follower
	for {
		a, err := rev.NextAttachment()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		stored := make([]byte, a.StoredLength())
		if _, err := io.ReadFull(a, stored); err != nil {
			return fmt.Errorf("attachment %q of %q: %w", a.Name, m.ID, unexpected(err))
		}
		atts = append(atts, follower{a.Attachment, stored})
	}
	if doc, ok := inside(rev.Doc, atts); ok {
		return f.packer.add(ctx, m, doc, hasStubs(m))
	}
	refs := make([]*millracev1.AttachmentRef, len(atts))
	for i, a := range atts {
		var err error
		if refs[i], err = f.attachment(ctx, a.Attachment, bytes.NewReader(a.stored)); err != nil {
			return fmt.Errorf("attachment %q of %q: %w", a.Name, m.ID, err)
		}
	}
	return f.packer.addMultipart(ctx, m, rev.Doc, hasStubs(m), refs)
}

// inside puts the attachments into the document, in Base64, unless one was compressed by
// a client.
func inside(doc []byte, atts []follower) ([]byte, bool) {
	entries := make([]rawdoc.Attachment, len(atts))
	for i, a := range atts {
		content, ok := unpacked(a)
		if !ok {
			return nil, false
		}
		// Without the digest: it is that of other bytes than these.
		entries[i] = rawdoc.Attachment{
			Name: a.Name, ContentType: a.ContentType, RevPos: a.RevPos,
			Data: base64.StdEncoding.AppendEncode([]byte{}, content),
		}
	}
	doc, err := rawdoc.SetAttachments(doc, entries)
	return doc, err == nil
}

// unpacked is the content of an attachment, if a server makes the stored bytes of it.
func unpacked(a follower) ([]byte, bool) {
	if a.Encoding == "" || a.Encoding == "identity" {
		return a.stored, true
	}
	r, err := gzip.NewReader(bytes.NewReader(a.stored))
	if err != nil {
		return nil, false
	}
	content, err := io.ReadAll(io.LimitReader(r, unpackLimit+1))
	if err != nil || len(content) > unpackLimit {
		return nil, false
	}
	// CouchDB takes the packed length of what a client packed for the content's, which is how
	// it differs where the client uses zlib, too.
	return content, int64(len(content)) == a.Length && bytes.Equal(couchgzip.Append(nil, content), a.stored)
}
