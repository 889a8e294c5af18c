package queryserver

import (
	"math/bits"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/libquickjs"
)

// heap is where one engine has its memory: a region of its own, so that it is given back as a
// whole, and can be taken away from an engine that does not stop (see engine.kill).
//
// It stands at the beginning of the region. Blocks are of sizes in steps of a quarter
// at most, each with a header; what is freed is used again for the same size. QuickJS has an
// allocator for small blocks on top of this one.
type heap struct {
	next, end uintptr // what was never used
	free      [sizes]uintptr
}

const (
	// header keeps the size of a block, and blocks aligned.
	header = 16
	// sizes are the multiples of 16 up to 64, and from there on four for each power of two.
	sizes = 4 + 4*(bits.UintSize-6)
)

// sizeOf returns the number of the smallest size that holds n bytes, and that size.
func sizeOf(n uintptr) (number int, size uintptr) {
	if n <= 64 {
		number = int(max(n, 1)-1) / 16
		return number, uintptr(number+1) * 16
	}
	power := bits.Len(uint(n - 1)) // 2^(power-1) < n <= 2^power
	step := uintptr(1) << (power - 3)
	quarter := (n - 1 - uintptr(1)<<(power-1)) / step
	return 4 + 4*(power-7) + int(quarter), uintptr(1)<<(power-1) + (quarter+1)*step
}

func newHeap(region []byte) *heap {
	h := (*heap)(unsafe.Pointer(unsafe.SliceData(region)))
	base := uintptr(unsafe.Pointer(h))
	h.next = (base + unsafe.Sizeof(heap{}) + header - 1) &^ (header - 1)
	h.end = base + uintptr(len(region))
	return h
}

// word is the memory at an address of the region, which the collector knows nothing of.
func word(address uintptr) *uintptr { return (*uintptr)(unsafe.Add(nil, address)) }

// alloc returns a block of n bytes or more, 0 where there is none.
func (h *heap) alloc(n uintptr) uintptr {
	number, size := sizeOf(n)
	if block := h.free[number]; block != 0 {
		h.free[number] = *word(block)
		return block
	}
	if size+header <= h.end-h.next {
		block := h.next + header
		h.next = block + size
		*word(block - header) = uintptr(number)
		*word(block - header/2) = size
		return block
	}
	for number++; number < sizes; number++ { // rather too large a block than none
		if block := h.free[number]; block != 0 {
			h.free[number] = *word(block)
			return block
		}
	}
	return 0
}

func usable(block uintptr) uintptr { return *word(block - header/2) }

func (h *heap) release(block uintptr) {
	if block+usable(block) == h.next { // the last one
		h.next = block - header
		return
	}
	number := *word(block - header)
	*word(block) = h.free[number]
	h.free[number] = block
}

func (h *heap) resize(block, n uintptr) uintptr {
	had := usable(block)
	if n <= had && n > had/2 {
		return block
	}
	if number, size := sizeOf(n); block+had == h.next && size <= h.end-block {
		*word(block - header) = uintptr(number)
		*word(block - header/2) = size
		h.next = block + size
		return block
	}
	moved := h.alloc(n)
	if moved == 0 {
		return 0
	}
	copy(unsafe.Slice((*byte)(unsafe.Add(nil, moved)), n), unsafe.Slice((*byte)(unsafe.Add(nil, block)), had))
	h.release(block)
	return moved
}

// The functions by which QuickJS gets its memory. They count what is in use, as its own do.

func state(address uintptr) (*lib.TJSMallocState, *heap) {
	s := (*lib.TJSMallocState)(unsafe.Add(nil, address))
	return s, (*heap)(unsafe.Add(nil, s.Fopaque))
}

func heapAlloc(_ *libc.TLS, address uintptr, n lib.Tsize_t) uintptr {
	s, h := state(address)
	if s.Fmalloc_size+n > s.Fmalloc_limit {
		return 0
	}
	block := h.alloc(uintptr(n))
	if block != 0 {
		s.Fmalloc_count++
		s.Fmalloc_size += lib.Tsize_t(usable(block) + header)
	}
	return block
}

func heapFree(_ *libc.TLS, address, block uintptr) {
	if block == 0 {
		return
	}
	s, h := state(address)
	s.Fmalloc_count--
	s.Fmalloc_size -= lib.Tsize_t(usable(block) + header)
	h.release(block)
}

func heapResize(tls *libc.TLS, address, block uintptr, n lib.Tsize_t) uintptr {
	if block == 0 && n == 0 {
		return 0
	}
	if block == 0 {
		return heapAlloc(tls, address, n)
	}
	if n == 0 {
		heapFree(tls, address, block)
		return 0
	}
	s, h := state(address)
	had := lib.Tsize_t(usable(block))
	if s.Fmalloc_size+n-had > s.Fmalloc_limit {
		return 0
	}
	moved := h.resize(block, uintptr(n))
	if moved != 0 {
		s.Fmalloc_size += lib.Tsize_t(usable(moved)) - had
	}
	return moved
}

func heapUsable(_ *libc.TLS, block uintptr) lib.Tsize_t { return lib.Tsize_t(usable(block)) }
