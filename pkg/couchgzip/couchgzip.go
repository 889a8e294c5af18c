// Package couchgzip compresses as CouchDB does when it stores an attachment of a
// compressible type, to the same bytes: gzip as zlib writes it at level 8, CouchDB's
// default compression_level.
//
// It answers a question that the protocol does not: who compressed what a database
// stores as gzip? If it was the server, the content compressed here has the digest that
// the stub has, and the attachment may travel inside its document: another server
// stores the same bytes again. If it was a client, with another tool or level, only
// its own bytes will do (ADR 019). Compressors in Go make other bytes than zlib does.
//
// deflate, with its tables, is written after the description of the format (RFC 1951)
// and of zlib's algorithm, and is tested against zlib itself. What is compressed has to
// be in memory, so it is for small contents.
package couchgzip

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"sync"
)

// Level is the level of compression, CouchDB's default.
const Level = 8

// Compressible reports whether CouchDB compresses attachments of a type: its default of
// compressible_types.
func Compressible(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch kind {
	case "application/javascript", "application/json", "application/xml":
		return true
	}
	return strings.HasPrefix(kind, "text/")
}

// Digest is the digest that CouchDB gives to the content of an attachment that it has
// compressed: "md5-" and the MD5 of the stored bytes in Base64.
func Digest(content []byte) string {
	w := writers.Get().(*writer)
	defer writers.Put(w)
	w.out = appendGzip(w.out[:0], w, content)
	return DigestOf(w.out)
}

// DigestOf is the digest that CouchDB gives to stored bytes.
func DigestOf(stored []byte) string {
	sum := md5.Sum(stored)
	return "md5-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Append appends the content as CouchDB stores it.
func Append(to, content []byte) []byte {
	w := writers.Get().(*writer)
	defer writers.Put(w)
	return appendGzip(to, w, content)
}

// writer is the working memory of one compression, some 700 kB.
type writer struct {
	deflater
	out []byte // of Digest
}

var writers = sync.Pool{New: func() any { return new(writer) }}

// header is what zlib writes without being told a name or a time, on Unix.
const header = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"

func appendGzip(to []byte, w *writer, content []byte) []byte {
	to = append(to, header...)
	to = w.deflate(to, content)
	to = binary.LittleEndian.AppendUint32(to, crc32.ChecksumIEEE(content))
	return binary.LittleEndian.AppendUint32(to, uint32(len(content)))
}
