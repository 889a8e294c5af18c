// Package rawdoc reads and edits what CouchDB itself puts into a document (its
// underscore members) while leaving every other byte of it alone.
//
// A document is bytes (invariant 7): numbers such as 1e400 or 0.1000, the order
// of members, escapes, repeated names and even invalid UTF-8 in strings come out
// as they went in. Nothing here decodes a body; members that are not asked for
// are skipped over.
//
// Where a name is repeated, the last occurrence counts.
package rawdoc

// Meta is what CouchDB's own members say about a document. Its strings are
// copies; Revisions and Attachment.Data alias the scanned document.
type Meta struct {
	// ID is `_id`, empty if the document has none.
	ID string
	// Rev is `_rev`, empty if the document has none.
	Rev string
	// Deleted is whether `_deleted` is true: the revision is a tombstone.
	Deleted bool
	// RawRevisions is the value of `_revisions` as it stands in the document,
	// nil if there is none. See [ParseRevisions].
	RawRevisions []byte
	// Attachments is what `_attachments` lists, in the document's order, which
	// is the order in which multipart bodies follow.
	Attachments []Attachment
}

// Attachment is one entry of `_attachments`. Fields that the document does not
// give are zero.
type Attachment struct {
	Name        string
	ContentType string
	// Digest is of the stored bytes, as CouchDB prints it ("md5-...").
	Digest string
	// RevPos is the generation at which the attachment was last changed.
	RevPos int64
	// Length is the decoded length in bytes.
	Length int64
	// Encoding is the encoding in which the server stores the bytes ("gzip"),
	// empty for none. It is only given with att_encoding_info=true and in
	// multipart answers.
	Encoding string
	// EncodedLength is the stored length in bytes where Encoding is set.
	EncodedLength int64
	// Stub says that the bytes are not here but at the server.
	Stub bool
	// Follows says that the bytes come as a later part of a multipart body.
	Follows bool
	// Data is the Base64 text of an inline attachment, without its quotes and
	// with JSON escapes as they stand; it aliases the document. Nil if there is none.
	Data []byte
}

// StoredLength is the number of bytes of the attachment in its stored encoding:
// what follows in a multipart body. As in CouchDB, an encoding without a length of
// its own leaves Length.
func (a Attachment) StoredLength() int64 {
	if a.Encoding != "" && a.EncodedLength > 0 {
		return a.EncodedLength
	}
	return a.Length
}

// Following returns the attachments whose bytes follow in a multipart body.
func (m Meta) Following() []Attachment {
	var out []Attachment
	for _, a := range m.Attachments {
		if a.Follows {
			out = append(out, a)
		}
	}
	return out
}
