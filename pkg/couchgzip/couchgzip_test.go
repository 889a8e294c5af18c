package couchgzip

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chance is a generator that is easily written in any language: testdata/zlib.txt was
// made by zlib from the same contents.
type chance uint64

func (c *chance) below(n int) int {
	*c = *c*6364136223846793005 + 1442695040888963407
	return int(uint64(*c)>>33) % n
}

// content is what a line of testdata/zlib.txt is about.
func content(kind string, seed, size int) []byte {
	random := chance(seed)
	var d []byte
	for len(d) < size {
		now := kind
		if kind == "mixed" {
			now = []string{"noise", "letters", "words", "runs", "copies"}[random.below(5)]
		}
		switch now {
		case "noise":
			d = append(d, byte(random.below(256)))
		case "letters":
			d = append(d, byte('a'+random.below(4)))
		case "words":
			word := random.below(300)
			for i := range 1 + word%9 {
				d = append(d, byte('a'+word*(i+7)%26))
			}
			d = append(d, ' ')
		case "runs":
			c := byte(random.below(256))
			d = append(d, bytes.Repeat([]byte{c}, 1+random.below(900))...)
		case "copies":
			if len(d) > 0 {
				at := random.below(len(d))
				d = append(d, d[at:at+min(random.below(300), len(d)-at)]...)
			}
			d = append(d, byte(random.below(256)))
		}
	}
	return d[:size]
}

func TestTheBytesAreThoseOfZlib(t *testing.T) {
	file, err := os.Open("testdata/zlib.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, cases := bufio.NewScanner(file), 0
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var kind, digest string
		var seed, size, length int
		if _, err := fmt.Sscan(lines.Text(), &kind, &seed, &size, &length, &digest); err != nil {
			t.Fatal(err)
		}
		cases++
		text := content(kind, seed, size)
		if got := Append(nil, text); len(got) != length || DigestOf(got) != digest {
			t.Errorf("%s: %d bytes, %s", lines.Text(), len(got), DigestOf(got))
		}
		if size <= 10_000 && Digest(text) != digest {
			t.Errorf("%s: %s", lines.Text(), Digest(text))
		}
	}
	if lines.Err() != nil || cases < 200 {
		t.Errorf("%d cases, %v", cases, lines.Err())
	}
}

// As other compressors make it: a client that compresses by itself is not taken for a
// server.
func TestTheBytesAreNotThoseOfGo(t *testing.T) {
	text := content("words", 1, 10_000)
	for level := gzip.HuffmanOnly; level <= gzip.BestCompression; level++ {
		var buf bytes.Buffer
		w, err := gzip.NewWriterLevel(&buf, level)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if DigestOf(buf.Bytes()) == Digest(text) {
			t.Errorf("level %d is the same", level)
		}
	}
}

func TestAppendLeavesWhatIsThere(t *testing.T) {
	if got := Append([]byte("before"), nil); string(got) != "before"+header+"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q", got)
	}
}

// Whatever it is compressed to, the content comes out of it, and what was compressed
// before makes no difference.
func FuzzAppend(f *testing.F) {
	for _, kind := range []string{"noise", "letters", "words", "runs", "copies", "mixed"} {
		f.Add(content(kind, 1, 5000), []byte(kind))
	}
	f.Fuzz(func(t *testing.T, text, before []byte) {
		var fresh writer
		want := appendGzip(nil, &fresh, text)
		var used writer
		appendGzip(nil, &used, before)
		if got := appendGzip(nil, &used, text); !bytes.Equal(got, want) {
			t.Errorf("%q after %q", text, before)
		}
		r, err := gzip.NewReader(bytes.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%q becomes %q, %v", text, got, err)
		}
	})
}

func BenchmarkDigest(b *testing.B) {
	text := content("words", 1, 10_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		Digest(text)
	}
}
