package queryserver

import (
	"bytes"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func TestSizesHoldWhatTheyAreFor(t *testing.T) {
	last := -1
	for n := uintptr(1); n < 100_000; n++ {
		number, size := sizeOf(n)
		if size < n || size%16 != 0 || size > n+n/4+16 || number != last && number != last+1 || number >= sizes {
			t.Fatalf("%d bytes are of size %d, number %d after %d", n, size, number, last)
		}
		last = number
	}
}

// Blocks keep what is in them, whatever becomes of others, and none lies in another or outside.
func TestHeapKeepsBlocksApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		region, err := newRegion(1 << 16)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := freeRegion(region); err != nil {
				t.Fatal(err)
			}
		}()
		h := newHeap(region)
		low := uintptr(unsafe.Pointer(h)) + unsafe.Sizeof(heap{})
		type block struct {
			at      uintptr
			content []byte
		}
		var blocks []block
		inside := func(b block) []byte { return unsafe.Slice((*byte)(unsafe.Add(nil, b.at)), len(b.content)) }
		fill := func(at, n uintptr) {
			if at == 0 {
				return
			}
			if at%header != 0 || at < low || at+usable(at) > h.end || usable(at) < n {
				t.Fatalf("a block of %d for %d bytes at %x", usable(at), n, at)
			}
			b := block{at, bytes.Repeat([]byte{rapid.Byte().Draw(t, "content")}, int(n))}
			copy(inside(b), b.content)
			blocks = append(blocks, b)
		}
		size := rapid.Custom(func(t *rapid.T) uintptr {
			return uintptr(rapid.IntRange(1, 1<<rapid.IntRange(0, 14).Draw(t, "bits")).Draw(t, "size"))
		})
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if len(blocks) == 0 || rapid.Bool().Draw(t, "alloc") {
				n := size.Draw(t, "n")
				fill(h.alloc(n), n)
			} else {
				i := rapid.IntRange(0, len(blocks)-1).Draw(t, "block")
				b := blocks[i]
				if rapid.Bool().Draw(t, "free") {
					h.release(b.at)
					blocks = append(blocks[:i], blocks[i+1:]...)
				} else if n := size.Draw(t, "n"); true {
					moved := h.resize(b.at, n)
					if moved == 0 {
						continue // and it is where it was
					}
					b.at, b.content = moved, b.content[:min(len(b.content), int(n))]
					if !bytes.Equal(inside(b), b.content) {
						t.Fatal("a block lost its content on the way")
					}
					blocks = append(blocks[:i], blocks[i+1:]...)
					fill(moved, n)
				}
			}
			for _, b := range blocks {
				if !bytes.Equal(inside(b), b.content) {
					t.Fatalf("a block at %x has another's content", b.at)
				}
			}
		}
	})
}
