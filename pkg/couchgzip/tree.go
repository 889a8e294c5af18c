package couchgzip

import "math/bits"

// Codes of literals and lengths, and of code lengths.
const (
	endOfBlock      = 256
	firstLength     = 257
	literalCount    = 286
	distanceCount   = 30
	codeLengthCount = 19
	maxBits         = 15

	repeatLength    = 16
	repeatZero      = 17
	repeatManyZeros = 18
)

// heapSize is the most nodes of a tree, and one.
const heapSize = 2*literalCount + 1

// tree is a Huffman code: how often each symbol is needed and, once it is built, its
// code, bits reversed, and the length of that.
type tree struct {
	freq   [heapSize]int
	code   [literalCount + 2]uint16
	length [heapSize]uint8
	last   int // the last symbol that has a code
}

// kind is what is fixed about a tree.
type kind struct {
	count    int // of symbols
	longest  int // code, in bits
	extra    []uint8
	firstOf  int   // the symbol that extra begins with
	standard *tree // nil if the format has none
}

// build makes the code as zlib does, of which there are many that are as good, and adds
// what it costs to what the block does.
func (b *blocks) build(t *tree, k kind) {
	h := &heap{tree: t, first: heapSize}
	t.last = -1
	for n := range k.count {
		t.length[n] = 0
		if t.freq[n] != 0 {
			h.size++
			h.nodes[h.size], t.last = n, n
		}
	}
	for h.size < 2 { // the format wants two codes, if of nothing
		n := 0
		if t.last < 2 {
			t.last++
			n = t.last
		}
		h.size++
		h.nodes[h.size] = n
		t.freq[n] = 1
		b.dynamicCost--
		if k.standard != nil {
			b.staticCost -= int(k.standard.length[n])
		}
	}
	for n := h.size / 2; n >= 1; n-- {
		h.down(n)
	}
	for node := k.count; h.size >= 2; node++ {
		n := h.pop()
		m := h.nodes[1]
		h.sorted(n)
		h.sorted(m)
		t.freq[node] = t.freq[n] + t.freq[m]
		h.depth[node] = max(h.depth[n], h.depth[m]) + 1
		h.parent[n], h.parent[m] = node, node
		h.nodes[1] = node
		h.down(1)
	}
	h.sorted(h.nodes[1])
	b.measure(t, k, h)
}

// measure sets the lengths of the codes, shortens what is too long, and makes the codes.
func (b *blocks) measure(t *tree, k kind, h *heap) {
	var count [maxBits + 1]int
	tooLong := 0
	t.length[h.nodes[h.first]] = 0 // the root
	for _, n := range h.nodes[h.first+1 : heapSize] {
		length := int(t.length[h.parent[n]]) + 1
		if length > k.longest {
			length = k.longest
			tooLong++
		}
		t.length[n] = uint8(length)
		if n > t.last {
			continue // no symbol
		}
		count[length]++
		extra := 0
		if n >= k.firstOf && k.extra != nil {
			extra = int(k.extra[n-k.firstOf])
		}
		b.dynamicCost += t.freq[n] * (length + extra)
		if k.standard != nil {
			b.staticCost += t.freq[n] * (int(k.standard.length[n]) + extra)
		}
	}
	if tooLong > 0 {
		b.shorten(t, k, h, &count, tooLong)
	}
	t.assign(&count)
}

// shorten moves leaves up the tree until no code is too long.
func (b *blocks) shorten(t *tree, k kind, h *heap, count *[maxBits + 1]int, tooLong int) {
	for ; tooLong > 0; tooLong -= 2 {
		length := k.longest - 1
		for count[length] == 0 {
			length--
		}
		count[length]--
		count[length+1] += 2
		count[k.longest]--
	}
	at := heapSize
	for length := k.longest; length > 0; length-- {
		for n := count[length]; n > 0; {
			at--
			m := h.nodes[at]
			if m > t.last {
				continue
			}
			if int(t.length[m]) != length {
				b.dynamicCost += (length - int(t.length[m])) * t.freq[m]
				t.length[m] = uint8(length)
			}
			n--
		}
	}
}

// assign gives out the codes by their lengths.
func (t *tree) assign(count *[maxBits + 1]int) {
	var next [maxBits + 1]uint16
	code := uint16(0)
	for length := 1; length <= maxBits; length++ {
		code = (code + uint16(count[length-1])) << 1
		next[length] = code
	}
	for n := range t.last + 1 {
		if length := t.length[n]; length > 0 {
			t.code[n] = bits.Reverse16(next[length]) >> (16 - length)
			next[length]++
		}
	}
}

// heap has the least frequent node at its top, of equals the shallower.
type heap struct {
	tree   *tree
	nodes  [heapSize]int // 1 to size are the heap, from first on those that have left it
	size   int
	first  int
	depth  [heapSize]int
	parent [heapSize]int
}

// sorted keeps a node that has left the heap.
func (h *heap) sorted(n int) {
	h.first--
	h.nodes[h.first] = n
}

func (h *heap) pop() int {
	n := h.nodes[1]
	h.nodes[1] = h.nodes[h.size]
	h.size--
	h.down(1)
	return n
}

func (h *heap) smaller(n, m int) bool {
	if h.tree.freq[n] != h.tree.freq[m] {
		return h.tree.freq[n] < h.tree.freq[m]
	}
	return h.depth[n] <= h.depth[m]
}

// down moves a node to where it belongs.
func (h *heap) down(at int) {
	v := h.nodes[at]
	for child := 2 * at; child <= h.size; child *= 2 {
		if child < h.size && h.smaller(h.nodes[child+1], h.nodes[child]) {
			child++
		}
		if h.smaller(v, h.nodes[child]) {
			break
		}
		h.nodes[at] = h.nodes[child]
		at = child
	}
	h.nodes[at] = v
}
