package couch

import (
	"fmt"
	"io"

	"millrace/pkg/rawdoc"
)

// OpenRev is one revision in the answer to open_revs, or the lack of one.
type OpenRev struct {
	// Doc is the document's bytes, nil if the revision is missing. They are the caller's to keep.
	Doc []byte
	// Meta is what the document says about itself. Those of its Attachments that
	// follow are read with NextAttachment.
	Meta rawdoc.Meta
	// Missing is the revision that the server does not have.
	Missing string

	parts     *related // nil if nothing follows
	following []rawdoc.Attachment
	request   *request
}

// FollowingAttachment is an attachment that follows its document.
type FollowingAttachment struct {
	rawdoc.Attachment
	// Reader reads StoredLength bytes, in the attachment's encoding. It fails with
	// a [CutError] if there are fewer or more.
	io.Reader
}

// NextAttachment returns the next attachment that follows the document, io.EOF
// behind the last. It ends the reading of the one before.
func (o *OpenRev) NextAttachment() (*FollowingAttachment, error) {
	if len(o.following) == 0 {
		return nil, io.EOF
	}
	if o.parts == nil {
		return nil, o.request.cut(fmt.Errorf("%w: attachments follow, but not in a multipart answer", errShape))
	}
	// Parts come in the order of the document's list. Their names are no help: CouchDB
	// writes them into headers as they are, quotes included.
	att := o.following[0]
	content, err := o.parts.attachment(att)
	if err != nil {
		return nil, o.request.cut(err)
	}
	o.following = o.following[1:]
	return &FollowingAttachment{Attachment: att, Reader: &cutReader{io.NopCloser(content), o.request}}, nil
}
