// Command gen packs what icu/dump.c prints into the table of package collation.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	out := flag.String("o", "root.bin", "the table")
	flag.Parse()
	if err := run(os.Stdin, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// element are the weights of a collation element, of which only the order counts.
type element [3]uint32

// mapping is a code point or a contraction with its elements.
type mapping struct {
	runes    []uint32
	elements []element
}

func run(in io.Reader, out string) error {
	all, err := read(in)
	if err != nil {
		return err
	}
	implicit := rank(all)
	slices.SortFunc(all, func(a, b mapping) int {
		if c := slices.CompareFunc(a.elements, b.elements, func(a, b element) int { return slices.Compare(a[:], b[:]) }); c != 0 {
			return c
		}
		return slices.Compare(a.runes, b.runes)
	})
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(pack(all, implicit)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(out, packed.Bytes(), 0o644)
}

func read(in io.Reader) ([]mapping, error) {
	var all []mapping
	for lines := bufio.NewScanner(in); lines.Scan(); {
		words := strings.Fields(lines.Text())
		var m mapping
		for r := range strings.SplitSeq(words[0], "+") {
			n, err := strconv.ParseUint(r, 16, 32)
			if err != nil {
				return nil, err
			}
			m.runes = append(m.runes, uint32(n))
		}
		for _, word := range words[1:] {
			var e element
			if _, err := fmt.Sscanf(word, "%X.%X.%X", &e[0], &e[1], &e[2]); err != nil {
				return nil, fmt.Errorf("%q: %w", word, err)
			}
			m.elements = append(m.elements, e)
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return all, nil
}

// rank replaces weights by their places among all of the level; 0 stays. It returns
// the first primary that comes after those of unassigned code points.
func rank(all []mapping) (implicit uint32) {
	for level := range 3 {
		seen := map[uint32]uint32{0: 0}
		var weights []uint32
		for _, m := range all {
			for _, e := range m.elements {
				if _, again := seen[e[level]]; !again {
					seen[e[level]] = 0
					weights = append(weights, e[level])
				}
			}
		}
		slices.Sort(weights)
		for i, w := range weights {
			seen[w] = uint32(i + 1)
			if level == 0 && w < 0xfe000000 {
				implicit = uint32(i + 2)
			}
		}
		for _, m := range all {
			for i := range m.elements {
				m.elements[i][level] = seen[m.elements[i][level]]
			}
		}
	}
	return implicit
}

// pack writes the mappings, in the order of their elements, as numbers that are
// small where things are as usual.
func pack(all []mapping, implicit uint32) []byte {
	b := binary.AppendUvarint(nil, uint64(implicit))
	b = binary.AppendUvarint(b, uint64(len(all)))
	last := make(map[uint32]uint32) // the last code point of each 4,096
	before := uint32(0)
	for _, m := range all {
		b = binary.AppendUvarint(b, uint64(len(m.runes)))
		for _, r := range m.runes {
			block := r >> 12
			b = binary.AppendUvarint(b, uint64(block))
			b = binary.AppendVarint(b, int64(r)-int64(last[block]))
			last[block] = r
		}
		b = binary.AppendUvarint(b, uint64(len(m.elements)))
		for _, e := range m.elements {
			b = binary.AppendVarint(b, int64(e[0])-int64(before))
			b = binary.AppendUvarint(b, uint64(e[1]))
			b = binary.AppendUvarint(b, uint64(e[2]))
			before = cmp.Or(e[0], before)
		}
	}
	return b
}
