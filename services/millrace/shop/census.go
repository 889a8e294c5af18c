package shop

// Census says what is in a shop.
type Census struct {
	// Documents are all, of which Design, Edited, Deleted, Conflicts and Resolved are
	// those of these kinds.
	Documents, Design, Edited, Deleted, Conflicts, Resolved int
	// Leaves are the leaf revisions of all documents, deleted ones included.
	Leaves int
	// Attachments of all leaves, and their bytes.
	Attachments, AttachmentBytes int
	// Bytes of the leaves as JSON, with attachments in Base64.
	Bytes int64
}

func (c *Census) count(d Document) {
	c.Documents++
	c.Leaves += len(d.Leaves)
	c.Attachments += d.Attachments
	c.AttachmentBytes += d.AttachmentBytes
	for _, leaf := range d.Leaves {
		c.Bytes += int64(len(leaf))
	}
	switch d.Kind {
	case Edited:
		c.Edited++
	case Deleted:
		c.Deleted++
	case Conflict:
		c.Conflicts++
	case Resolved:
		c.Resolved++
	case Design:
		c.Design++
	}
}

func (c *Census) add(o Census) {
	c.Documents += o.Documents
	c.Design += o.Design
	c.Edited += o.Edited
	c.Deleted += o.Deleted
	c.Conflicts += o.Conflicts
	c.Resolved += o.Resolved
	c.Leaves += o.Leaves
	c.Attachments += o.Attachments
	c.AttachmentBytes += o.AttachmentBytes
	c.Bytes += o.Bytes
}
