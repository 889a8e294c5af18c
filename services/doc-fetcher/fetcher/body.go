package fetcher

import "google.golang.org/protobuf/encoding/protowire"

const (
	// docsField is the number of the field docs of a [millracev1.Bodies].
	docsField = 1
	// headroom is what stands before the documents in a message at most: the field's
	// tag and the length of up to 2 GiB.
	headroom = 1 + 5
)

// body is a message of BODIES in the making: a [millracev1.Bodies] in its encoding.
// The documents are copied once, to where they are sent from, because a run copies all
// of its bytes here. The zero value is empty and takes nothing.
type body struct{ bytes []byte }

// newBody returns an empty body with room for documents of size bytes; it grows beyond.
func newBody(size int) body { return body{make([]byte, headroom, headroom+size)} }

// bodyOf returns a body of these bytes.
func bodyOf(content []byte) body {
	b := newBody(len(content))
	b.add(content)
	return b
}

// add appends a document behind a comma and returns where it begins.
func (b *body) add(doc []byte) (offset int) {
	if b.size() > 0 {
		b.bytes = append(b.bytes, ',')
	}
	offset = b.size()
	b.bytes = append(b.bytes, doc...)
	return offset
}

// size is the number of bytes of the documents and what joins them.
func (b *body) size() int { return max(len(b.bytes)-headroom, 0) }

// message is the encoded message. Nothing can be added any more: it shares memory with the body.
func (b *body) message() []byte {
	head := protowire.AppendTag(make([]byte, 0, headroom), docsField, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(b.size()))
	start := headroom - len(head)
	copy(b.bytes[start:], head)
	return b.bytes[start:]
}
