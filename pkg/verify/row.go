package verify

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"millrace/pkg/couch"
)

// row is what a feed says of a document.
type row struct {
	leaves  []string // sorted, each once
	deleted bool     // the winner is
	// sums are what the leaves hold, in their order; nil if nobody has looked.
	sums []sum
}

// sum is the same for leaves that hold the same.
type sum [16]byte

func rowOf(r couch.Row) row {
	leaves := slices.Clone(r.Revs)
	slices.Sort(leaves)
	return row{leaves: slices.Compact(leaves), deleted: r.Deleted}
}

// sumOf is what a leaf holds; nil if nobody has looked.
func (r row) sumOf(rev string) *sum {
	i, ok := slices.BinarySearch(r.leaves, rev)
	if !ok || r.sums == nil {
		return nil
	}
	return &r.sums[i]
}

// errRow says that a spilled row does not read back.
var errRow = errors.New("verify: damaged row in a temporary file")

// packedHash is how many bytes a revision's hash takes that is an MD5 in hex.
const packedHash = 16

// append appends the row in a form of its own: equal rows are equal bytes, and a
// revision that CouchDB made takes 17 bytes.
func (r row) append(dst []byte) []byte {
	flag := uint64(0)
	if r.deleted {
		flag = 1
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.leaves))<<1|flag)
	for _, rev := range r.leaves {
		dst = appendRev(dst, rev)
	}
	for _, s := range r.sums {
		dst = append(dst, s[:]...)
	}
	return dst
}

// appendRev packs a revision N-hash as N and the bytes of the hash; any other text
// follows a zero, which is no generation.
func appendRev(dst []byte, rev string) []byte {
	if pos, hash, ok := strings.Cut(rev, "-"); ok && len(hash) == 2*packedHash && strings.ToLower(hash) == hash {
		n, err := strconv.ParseUint(pos, 10, 63)
		var packed [packedHash]byte
		if err == nil && n > 0 && strconv.FormatUint(n, 10) == pos {
			if _, err := hex.Decode(packed[:], []byte(hash)); err == nil {
				return append(binary.AppendUvarint(dst, n), packed[:]...)
			}
		}
	}
	dst = binary.AppendUvarint(append(dst, 0), uint64(len(rev)))
	return append(dst, rev...)
}

// leafCount reads the number of leaves of an encoded row, 0 of none.
func leafCount(encoded []byte) int64 {
	n, _ := binary.Uvarint(encoded)
	return int64(n >> 1)
}

func decodeRow(encoded []byte) (row, error) {
	head, rest, err := cutUvarint(encoded)
	if err != nil || head>>1 > uint64(len(rest)) {
		return row{}, errRow
	}
	r := row{deleted: head&1 == 1, leaves: make([]string, head>>1)}
	for i := range r.leaves {
		if r.leaves[i], rest, err = cutRev(rest); err != nil {
			return row{}, err
		}
	}
	if len(rest) == 0 {
		return r, nil
	}
	if len(rest) != len(r.leaves)*len(sum{}) {
		return row{}, errRow
	}
	r.sums = make([]sum, len(r.leaves))
	for i := range r.sums {
		rest = rest[copy(r.sums[i][:], rest):]
	}
	return r, nil
}

func cutRev(encoded []byte) (rev string, rest []byte, err error) {
	pos, rest, err := cutUvarint(encoded)
	if err != nil {
		return "", nil, err
	}
	if pos > 0 {
		if len(rest) < packedHash {
			return "", nil, errRow
		}
		return strconv.FormatUint(pos, 10) + "-" + hex.EncodeToString(rest[:packedHash]), rest[packedHash:], nil
	}
	n, rest, err := cutUvarint(rest)
	if err != nil || n > uint64(len(rest)) {
		return "", nil, errRow
	}
	return string(rest[:n]), rest[n:], nil
}

func cutUvarint(encoded []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(encoded)
	if n <= 0 {
		return 0, nil, errRow
	}
	return v, encoded[n:], nil
}
