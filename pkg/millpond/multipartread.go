package millpond

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
)

// readRelated reads a document with attachments from a multipart/related body.
// Like CouchDB it gives the parts to the attachments that say "follows" in the
// order in which the document lists them, whatever names the parts have.
func (c *call) readRelated(boundary string) (*incoming, error) {
	if boundary == "" {
		return nil, badRequest("multipart/related without a boundary")
	}
	parts := multipart.NewReader(c.r.Body, boundary)
	text, err := readPart(parts)
	if err != nil {
		return nil, err
	}
	doc, err := c.parser().doc(text)
	if err != nil {
		return nil, err
	}
	for i := range doc.atts {
		att := &doc.atts[i]
		if !att.Follows {
			continue
		}
		data, err := readPart(parts)
		if err != nil {
			return nil, err
		}
		if err := c.parser().takeFollowing(att, data); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

// readPart reads the next part whole.
func readPart(parts *multipart.Reader) ([]byte, error) {
	part, err := parts.NextRawPart()
	if errors.Is(err, io.EOF) {
		return nil, badRequest("attachment shorter than expected")
	}
	if err != nil {
		return nil, bodyError(err)
	}
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(part); err != nil {
		return nil, bodyError(err)
	}
	return buf.Bytes(), nil
}

// takeFollowing stores the content of an attachment, in the encoding in which it
// came or packed by us, after checking it against what the document says of it.
// CouchDB crashes, with 500, where the digest is another or no length is given.
func (p parser) takeFollowing(att *incomingAtt, data []byte) error {
	size := int64(len(data))
	if p.maxAttachment > 0 && size > p.maxAttachment {
		return newError(http.StatusRequestEntityTooLarge, "attachment_too_large", att.Name)
	}
	length, stored := size, att.Length
	if att.Encoding != "" {
		if att.Length != nil {
			length = *att.Length
		}
		if att.EncodedLength != nil {
			stored = att.EncodedLength
		}
	}
	switch {
	case stored == nil:
		return newCrash("an attachment that follows without a length")
	case *stored < size:
		return badRequest("attachment longer than expected")
	case *stored > size:
		return badRequest("attachment shorter than expected")
	case strings.HasPrefix(att.Digest, "md5-") && att.Digest != digest(data):
		return newCrash("an attachment with another digest")
	}
	att.stored = p.attachment(att.Name, att.ContentType, att.Encoding, data, length)
	if att.RevPos != nil {
		att.stored.RevPos = *att.RevPos
	}
	return nil
}
