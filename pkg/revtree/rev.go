// Package revtree is CouchDB's revision tree as a pure value: merging a
// revision's path into a document's tree, its leaves, the winner among them,
// and what a replicator asks about them.
//
// A tree never changes: every operation that would change it returns another
// one, so a reader keeps a consistent view without a lock. The cost of a merge
// is a copy of the tree's nodes (40 bytes each beside the value).
//
// Merging is commutative, associative and idempotent, whatever order paths
// arrive in (invariant 2): the property tests of this package say so.
package revtree

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// hexLen is the length of a hash as CouchDB itself makes it: an MD5 in hex.
const hexLen = 32

// Rev names one revision of a document: its generation and its hash.
type Rev struct {
	// Pos is the generation: 1 for a first revision, 0 in _local documents.
	Pos int
	// Hash is usually 32 hex digits, but any text is legal in a replicated revision.
	Hash string
}

// FormatError says that a text is not a revision in CouchDB's "N-hash" form.
type FormatError struct{ Text string }

func (e *FormatError) Error() string { return fmt.Sprintf("invalid revision %q", e.Text) }

// Parse reads "N-hash". As in CouchDB, a hash of 32 characters must be
// hexadecimal and is lower-cased; any other text is kept as it is. The error is
// a *FormatError.
func Parse(text string) (Rev, error) {
	pos, hash, found := strings.Cut(text, "-")
	if !found {
		return Rev{}, &FormatError{Text: text}
	}
	n, err := strconv.Atoi(pos)
	if err != nil || n < 0 {
		return Rev{}, &FormatError{Text: text}
	}
	hash, err = ParseHash(hash)
	if err != nil {
		return Rev{}, &FormatError{Text: text}
	}
	return Rev{Pos: n, Hash: hash}, nil
}

// ParseHash normalises a hash as it stands in _revisions.ids (see Parse).
func ParseHash(hash string) (string, error) {
	if len(hash) != hexLen {
		return hash, nil
	}
	for i := range len(hash) {
		if !isHex(hash[i]) {
			return "", &FormatError{Text: hash}
		}
	}
	return strings.ToLower(hash), nil
}

// String is the revision in CouchDB's form.
func (r Rev) String() string { return strconv.Itoa(r.Pos) + "-" + r.Hash }

// Append appends the revision's text to dst.
func (r Rev) Append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(r.Pos), 10)
	dst = append(dst, '-')
	return append(dst, r.Hash...)
}

// Compare orders revisions as CouchDB does: by generation, then by the bytes of
// the hash. CouchDB keeps a hash of 32 hex digits as the 16 bytes that they
// spell, which matters only beside hashes of another length: "96..." is the byte
// 0x96 there, and greater than "aa".
func (r Rev) Compare(other Rev) int {
	if c := cmp.Compare(r.Pos, other.Pos); c != 0 {
		return c
	}
	if len(r.Hash) == len(other.Hash) {
		return strings.Compare(r.Hash, other.Hash)
	}
	if c := strings.Compare(stored(r.Hash), stored(other.Hash)); c != 0 {
		return c
	}
	return cmp.Compare(len(r.Hash), len(other.Hash)) // "aa" as text and as hex of equal bytes
}

// stored is the form in which CouchDB keeps and compares a hash.
func stored(hash string) string {
	if len(hash) != hexLen {
		return hash
	}
	raw, err := hex.DecodeString(hash)
	if err != nil {
		return hash
	}
	return string(raw)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
