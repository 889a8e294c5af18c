package millpond

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"millrace/pkg/revtree"
)

// attachmentName is the rest of the path: names may have slashes.
func (c *call) attachmentName() string { return strings.Join(c.parts[2:], "/") }

func (r *Revision) named(name string) *Attachment {
	for _, att := range r.Attachments {
		if att.Name == name {
			return att
		}
	}
	return nil
}

// getAttachment answers GET /db/doc/attachment: packed if it is stored so and the
// client takes it, ranges of what is stored plain.
func (c *call) getAttachment() error {
	doc, err := c.db.Doc(c.r.Context(), c.docID())
	if err != nil {
		return err
	}
	node, _, err := c.chooseRev(doc)
	if err != nil {
		return err
	}
	content, _ := node.Value()
	att := content.named(c.attachmentName())
	if att == nil {
		return errNoAttachment
	}
	h := c.w.Header()
	h.Set("Content-Type", att.ContentType)
	h.Set("ETag", `"`+strings.TrimPrefix(att.Digest, "md5-")+`"`)
	if c.r.Header.Get("If-None-Match") == h.Get("ETag") {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if att.Encoding == "" {
		return c.sendRanges(att)
	}
	if strings.Contains(c.r.Header.Get("Accept-Encoding"), att.Encoding) {
		h.Set("Content-Encoding", att.Encoding)
		return c.sendPacked(att, att.Data)
	}
	data, err := att.content()
	if err != nil {
		return err
	}
	if att.Length != int64(len(att.Data)) {
		return c.sendPacked(att, data)
	}
	// A client packed it and did not say how long it was: CouchDB unpacks it while
	// it sends, and so cannot say either.
	h.Set("Accept-Ranges", "none")
	out := c.stream(att.ContentType)
	out.append(data)
	out.send()
	return nil
}

// putAttachment answers PUT /db/doc/attachment: a new revision with the
// attachment, first in its list.
func (c *call) putAttachment() error {
	name := c.attachmentName()
	if err := checkAttachmentName(name); err != nil {
		return err
	}
	if err := c.parser().checkID(c.docID()); err != nil {
		return err
	}
	att, err := c.readAttachment(name)
	if err != nil {
		return err
	}
	doc, err := c.withoutAttachment(name)
	if err != nil {
		return err
	}
	doc.atts = append([]incomingAtt{{Name: name, stored: att}}, doc.atts...)
	rev, err := c.editor().write(c.r.Context(), doc, true)
	if err != nil {
		return err
	}
	c.setLocation(doc.id, name)
	return c.json(http.StatusCreated, appendAccepted(nil, doc.id, rev))
}

// readAttachment reads the request's body as it came, packed or not.
func (c *call) readAttachment(name string) (*Attachment, error) {
	encoding := strings.ToLower(strings.TrimSpace(c.r.Header.Get("Content-Encoding")))
	switch encoding {
	case "identity":
		encoding = ""
	case "", "gzip":
	default:
		return nil, newError(
			http.StatusUnsupportedMediaType, "bad_content_type",
			"Only gzip and identity content-encodings are supported",
		)
	}
	body := io.Reader(c.r.Body)
	tooLarge := newError(http.StatusRequestEntityTooLarge, "attachment_too_large", name)
	if limit := c.server.opts.MaxAttachmentSize; limit > 0 {
		if c.r.ContentLength > limit {
			c.w.Header().Set("Connection", "close") // the body will not be read
			return nil, tooLarge
		}
		body = http.MaxBytesReader(c.w, c.r.Body, limit)
	}
	var buf bytes.Buffer
	switch _, err := buf.ReadFrom(body); {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, tooLarge
	case err != nil:
		return nil, bodyError(err)
	}
	data := buf.Bytes()
	contentType := c.r.Header.Get("Content-Type")
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	return c.parser().attachment(name, contentType, encoding, data, int64(len(data))), nil
}

// withoutAttachment is the revision that the request names, as an edit of itself
// that keeps all attachments but one; an empty document if none is named.
func (c *call) withoutAttachment(name string) (*incoming, error) {
	doc := &incoming{id: c.docID()}
	rev, err := c.explicitRev()
	if err != nil || rev == nil {
		return doc, err
	}
	stored, err := c.db.Doc(c.r.Context(), doc.id)
	if err != nil {
		return nil, err
	}
	found := openRevs(stored, []revtree.Rev{*rev}, false)
	if found[0].node == nil {
		return nil, newError(http.StatusConflict, "not_found", "missing_rev")
	}
	content, _ := found[0].node.Value()
	doc.path = revtree.Path{Start: rev.Pos, IDs: []string{rev.Hash}}
	doc.body = content.Body
	for _, att := range content.Attachments {
		if att.Name != name {
			doc.atts = append(doc.atts, incomingAtt{Name: att.Name, Stub: true})
		}
	}
	return doc, nil
}

// deleteAttachment answers DELETE /db/doc/attachment.
func (c *call) deleteAttachment() error {
	name := c.attachmentName()
	stored, err := c.db.Doc(c.r.Context(), c.docID())
	if err != nil {
		return err
	}
	rev, err := c.explicitRev()
	if err != nil {
		return err
	}
	var node *Node
	switch {
	case rev != nil:
		node = openRevs(stored, []revtree.Rev{*rev}, false)[0].node
		if node == nil {
			return newError(http.StatusConflict, "not_found", "missing_rev")
		}
	case stored == nil:
		return errMissing
	default:
		node = stored.Tree.Winner()
	}
	if content, _ := node.Value(); content.named(name) == nil {
		return errNoAttachment
	}
	doc, err := c.withoutAttachment(name)
	if err != nil {
		return err
	}
	newRev, err := c.editor().write(c.r.Context(), doc, true)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, appendAccepted(nil, doc.id, newRev))
}
