package couchgzip

// blockSymbols is how many literals and matches a block has at most.
const blockSymbols = 1<<14 - 1

// symbol is a literal (distance 0) or a match: its length less than three bytes less.
type symbol struct {
	distance uint16
	value    uint8
}

// blocks gathers symbols and writes them in the cheapest of the format's three ways.
type blocks struct {
	bits     bitWriter
	symbols  []symbol
	literals tree // and lengths, and the end of the block
	distance tree
	lengths  tree // the code lengths of the other two

	dynamicCost, staticCost int // in bits
}

func (b *blocks) reset(to []byte) {
	b.bits = bitWriter{out: to}
	if b.symbols == nil {
		b.symbols = make([]symbol, 0, blockSymbols)
	}
	b.begin()
}

// begin starts a block.
func (b *blocks) begin() {
	b.symbols = b.symbols[:0]
	clear(b.literals.freq[:])
	clear(b.distance.freq[:])
	clear(b.lengths.freq[:])
	b.literals.freq[endOfBlock] = 1
	b.dynamicCost, b.staticCost = 0, 0
}

// tallyLiteral and tallyMatch note a symbol and report whether the block is full.
func (b *blocks) tallyLiteral(c byte) (full bool) {
	b.symbols = append(b.symbols, symbol{value: c})
	b.literals.freq[c]++
	return len(b.symbols) == blockSymbols
}

func (b *blocks) tallyMatch(distance, length int) (full bool) {
	b.symbols = append(b.symbols, symbol{distance: uint16(distance), value: uint8(length - minMatch)})
	b.literals.freq[firstLength+int(lengthCodes[length-minMatch])]++
	b.distance.freq[distanceCode(distance-1)]++
	return len(b.symbols) == blockSymbols
}

// flush writes the block, whose text may be stored if it is still in zlib's window.
func (b *blocks) flush(text []byte, stored, last bool) {
	b.build(&b.literals, literalKind)
	b.build(&b.distance, distanceKind)
	order := b.buildLengths()
	dynamic, static := (b.dynamicCost+3+7)/8, (b.staticCost+3+7)/8
	final := uint32(0)
	if last {
		final = 1
	}
	switch best := min(dynamic, static); {
	case stored && len(text)+4 <= best:
		b.bits.put(final, 3)
		b.bits.align()
		b.bits.put(uint32(len(text)), 16)
		b.bits.put(uint32(^uint16(len(text))), 16)
		b.bits.out = append(b.bits.out, text...)
	case static <= dynamic:
		b.bits.put(1<<1+final, 3)
		b.write(&staticLiterals, &staticDistance)
	default:
		b.bits.put(2<<1+final, 3)
		b.writeTrees(order)
		b.write(&b.literals, &b.distance)
	}
	b.begin()
}

// write writes the symbols.
func (b *blocks) write(literals, distance *tree) {
	for _, s := range b.symbols {
		if s.distance == 0 {
			b.bits.put(uint32(literals.code[s.value]), literals.length[s.value])
			continue
		}
		code := lengthCodes[s.value]
		b.bits.put(uint32(literals.code[firstLength+int(code)]), literals.length[firstLength+int(code)])
		b.bits.put(uint32(s.value)-uint32(lengthBase[code]), lengthExtra[code])
		far := int(s.distance) - 1
		code = distanceCode(far)
		b.bits.put(uint32(distance.code[code]), distance.length[code])
		b.bits.put(uint32(far)-uint32(distanceBase[code]), distanceExtra[code])
	}
	b.bits.put(uint32(literals.code[endOfBlock]), literals.length[endOfBlock])
}

// writeTrees writes the code lengths of a block's own codes.
func (b *blocks) writeTrees(order int) {
	b.bits.put(uint32(b.literals.last+1-firstLength), 5)
	b.bits.put(uint32(b.distance.last), 5)
	b.bits.put(uint32(order+1-4), 4)
	for _, code := range lengthOrder[:order+1] {
		b.bits.put(uint32(b.lengths.length[code]), 3)
	}
	for _, t := range []*tree{&b.literals, &b.distance} {
		runs(t, func(code uint8, extra, width uint8) {
			b.bits.put(uint32(b.lengths.code[code]), b.lengths.length[code])
			b.bits.put(uint32(extra), width)
		})
	}
}

// buildLengths makes the code for code lengths, and returns the place in lengthOrder of
// the last that is used.
func (b *blocks) buildLengths() int {
	for _, t := range []*tree{&b.literals, &b.distance} {
		runs(t, func(code uint8, _, _ uint8) { b.lengths.freq[code]++ })
	}
	b.build(&b.lengths, lengthKind)
	order := len(lengthOrder) - 1
	for order > 3 && b.lengths.length[lengthOrder[order]] == 0 {
		order--
	}
	b.dynamicCost += 3*(order+1) + 5 + 5 + 4
	return order
}

// runs calls visit with each code of a tree's code lengths, where runs are shortened.
func runs(t *tree, visit func(code uint8, extra, width uint8)) {
	lengths := t.length[:t.last+1]
	before := -1
	for len(lengths) > 0 {
		now, most, least := int(lengths[0]), 7, 4
		switch {
		case now == 0:
			most, least = 138, 3
		case now == before:
			most, least = 6, 3
		}
		count := 1
		for count < most && count < len(lengths) && lengths[count] == lengths[0] {
			count++
		}
		lengths = lengths[count:]
		switch {
		case count < least:
			for range count {
				visit(uint8(now), 0, 0)
			}
		case now == 0 && count <= 10:
			visit(repeatZero, uint8(count-3), 3)
		case now == 0:
			visit(repeatManyZeros, uint8(count-11), 7)
		default:
			if now != before {
				visit(uint8(now), 0, 0)
				count--
			}
			visit(repeatLength, uint8(count-3), 2)
		}
		before = now
	}
}

// bitWriter packs bits from the lowest on.
type bitWriter struct {
	out  []byte
	held uint64
	n    uint8
}

func (w *bitWriter) put(value uint32, bits uint8) {
	w.held |= uint64(value) << w.n
	w.n += bits
	for w.n >= 8 {
		w.out = append(w.out, byte(w.held))
		w.held >>= 8
		w.n -= 8
	}
}

// align fills up the last byte.
func (w *bitWriter) align() {
	if w.n > 0 {
		w.put(0, 8-w.n)
	}
}

// finish returns everything.
func (w *bitWriter) finish() []byte {
	w.align()
	out := w.out
	w.out = nil
	return out
}
