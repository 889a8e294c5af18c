// Package content keeps the bytes of large attachments between the two sides: in chunks in
// the stream ATTACHMENTS, each content once whoever wants it, and all of them together never
// more than a capacity. See docs/adr/011.
//
// The fetching side reserves room for the contents of a part ([Store.Reserve]), sees to it
// that they are there ([Store.Ensure]) and publishes the part. The writing side reads them
// ([Store.Open]) and then gives the room back ([Store.Release]).
package content

import (
	"crypto/sha256"
	"encoding/binary"

	"millrace/pkg/broker"
)

// ID names a content: what is stored so at one source under one identity. A digest alone is
// an MD5, of bytes that the encoding says how to read, and anybody can make two contents that
// have the same (DESIGN section 5): tenants must not share by it. scope is the source's
// endpoint, which says whose credential it is read with and not which password. Of a content
// without a digest, instance tells it from all others.
func ID(scope, digest, encoding string, length int64, instance ...string) string {
	h := sha256.New()
	write := func(s string) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	for _, s := range []string{scope, digest, encoding, string(binary.BigEndian.AppendUint64(nil, uint64(length)))} {
		write(s)
	}
	if digest == "" {
		for _, s := range instance {
			write(s)
		}
	}
	return broker.Token(string(h.Sum(nil)))
}
