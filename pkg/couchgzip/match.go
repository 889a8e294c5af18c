package couchgzip

// The numbers of level 8 and of the standard window and memory.
const (
	windowSize   = 1 << 15
	windowMask   = windowSize - 1
	hashSize     = 1 << 15
	hashMask     = hashSize - 1
	hashShift    = 5
	minMatch     = 3
	maxMatch     = 258
	minLookahead = maxMatch + minMatch + 1
	maxDistance  = windowSize - minLookahead
	// tooFar is how far away a match of three bytes costs more than three literals.
	tooFar = 4096

	goodLength = 32   // a match so long makes the search for a better one shorter
	maxLazy    = 128  // and one so long ends it
	niceLength = 258  // a match so long is taken without looking on
	maxChain   = 1024 // places that are looked at
)

// deflater finds matches, putting off each by a byte to see whether the next is longer.
//
// zlib keeps a window of two window sizes, and moves its upper half down when the
// upper end comes near. Here all of the data is there, and base says where that window
// would begin: what lies before it, or at its very first byte, cannot be matched.
type deflater struct {
	blocks
	data []byte
	head [hashSize]uint32   // the newest place of a hash; 0 for none, as the first byte has no match
	prev [windowSize]uint32 // the place before it, by the lower bits of a place

	base      int // where zlib's window begins
	start     int // the byte that is looked at
	lookahead int // bytes from there on that zlib would have read
	unread    int // bytes that it would not have
	matchAt   int // where the match of the byte that is looked at begins
}

// deflate appends the compressed data.
func (d *deflater) deflate(to, data []byte) []byte {
	d.data, d.base, d.start, d.lookahead, d.unread, d.matchAt = data, 0, 0, 0, len(data), 0
	clear(d.head[:])
	d.blocks.reset(to)
	blockStart := 0
	flush := func(last bool) {
		// A block that began before the window has lost its text.
		d.flush(data[blockStart:d.start], blockStart >= d.base, last)
		blockStart = d.start
	}
	length, available := minMatch-1, false // of the match at the byte before; whether that waits
	for {
		if d.lookahead < minLookahead {
			d.fill()
		}
		if d.lookahead == 0 {
			break
		}
		candidate := 0
		if d.lookahead >= minMatch {
			candidate = d.insert(d.start)
		}
		prevLength, prevAt := length, d.matchAt
		length = minMatch - 1
		if candidate > d.base && prevLength < maxLazy && d.start-candidate <= maxDistance {
			length = d.longest(candidate, prevLength)
			if length == minMatch && d.start-d.matchAt > tooFar {
				length = minMatch - 1
			}
		}
		switch {
		case prevLength >= minMatch && length <= prevLength:
			full := d.tallyMatch(d.start-1-prevAt, prevLength)
			lastInsert := d.start + d.lookahead - minMatch
			d.lookahead -= prevLength - 1
			for range prevLength - 2 {
				if d.start++; d.start <= lastInsert {
					d.insert(d.start)
				}
			}
			d.start++
			available, length = false, minMatch-1
			if full {
				flush(false)
			}
		case available:
			if d.tallyLiteral(data[d.start-1]) {
				flush(false)
			}
			d.start++
			d.lookahead--
		default:
			available = true
			d.start++
			d.lookahead--
		}
	}
	if available {
		d.tallyLiteral(data[d.start-1])
	}
	flush(true)
	d.data = nil
	return d.bits.finish()
}

// fill reads on, as far as zlib's window has room, which it makes first.
func (d *deflater) fill() {
	for {
		room := 2*windowSize - (d.start - d.base) - d.lookahead
		if d.start-d.base >= windowSize+maxDistance {
			d.base += windowSize
			room += windowSize
		}
		n := min(d.unread, room)
		d.lookahead += n
		d.unread -= n
		if d.unread == 0 || d.lookahead >= minLookahead {
			return
		}
	}
}

// insert notes the three bytes at a place and returns where they, or others of the same
// hash, were last.
func (d *deflater) insert(at int) int {
	b := d.data[at : at+minMatch]
	h := (uint32(b[0])<<(2*hashShift) ^ uint32(b[1])<<hashShift ^ uint32(b[2])) & hashMask
	before := d.head[h]
	d.prev[at&windowMask] = before
	d.head[h] = uint32(at)
	return int(before)
}

// longest returns the length of the longest match that is longer than best, and notes
// where it is; or else best, or what is left of the data.
func (d *deflater) longest(candidate, best int) int {
	if best >= d.lookahead {
		return d.lookahead
	}
	chain := maxChain
	if best >= goodLength {
		chain >>= 2
	}
	nice := min(niceLength, d.lookahead)
	limit := max(d.base, d.start-maxDistance)
	scan := d.data[d.start : d.start+min(maxMatch, d.lookahead)]
	for {
		match := d.data[candidate:]
		if match[best] == scan[best] && match[best-1] == scan[best-1] && match[0] == scan[0] && match[1] == scan[1] {
			length := 2
			for length < len(scan) && match[length] == scan[length] {
				length++
			}
			if length > best {
				d.matchAt, best = candidate, length
				if length >= nice {
					break
				}
			}
		}
		candidate = int(d.prev[candidate&windowMask])
		if candidate <= limit {
			break
		}
		if chain--; chain == 0 {
			break
		}
	}
	return min(best, d.lookahead)
}
