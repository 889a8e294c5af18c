// Package bodymessage makes messages of the stream BODIES: documents as the source gave them, joined with
// commas, so that a run of them is ready for _bulk_docs.
package bodymessage

import "google.golang.org/protobuf/encoding/protowire"

// Full is how full a message gets: DESIGN section 3 aims at 256-512 KB, where JetStream's cost per byte
// is flat.
const Full = 448 << 10

const (
	// docsField is the number of the field docs of a [millracev1.Bodies].
	docsField = 1
	// headroom is what stands before the documents in a message at most: the field's
	// tag and the length of up to 2 GiB.
	headroom = 1 + 5
)

// Builder is a message in the making: a [millracev1.Bodies] in its encoding.
// The documents are copied once, to where they are sent from, because a run copies all
// of its bytes here. The zero value is empty and takes nothing.
type Builder struct{ bytes []byte }

// New returns an empty message with room for documents of size bytes; it grows beyond.
func New(size int) Builder { return Builder{make([]byte, headroom, headroom+size)} }

// Of returns a message of these bytes.
func Of(content []byte) Builder {
	b := New(len(content))
	b.Add(content)
	return b
}

// Add appends a document behind a comma and returns where it begins.
func (b *Builder) Add(doc []byte) (offset int) {
	if b.Size() > 0 {
		b.bytes = append(b.bytes, ',')
	}
	offset = b.Size()
	b.bytes = append(b.bytes, doc...)
	return offset
}

// Size is the number of bytes of the documents and what joins them.
func (b *Builder) Size() int { return max(len(b.bytes)-headroom, 0) }

// Takes reports whether a message that is not empty should take one more document of size bytes.
func (b *Builder) Takes(size int) bool { return b.Size() == 0 || b.Size()+1+size <= Full }

// Message is the encoded message. Nothing can be added any more: it shares memory with the builder.
func (b *Builder) Message() []byte {
	head := protowire.AppendTag(make([]byte, 0, headroom), docsField, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(b.Size()))
	start := headroom - len(head)
	copy(b.bytes[start:], head)
	return b.bytes[start:]
}
