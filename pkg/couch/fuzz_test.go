package couch

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"net/http"
)

// The fuzz tests are about the bytes that servers send. Their seeds are answers of
// CouchDB 3.5 and of PouchDB's server (testdata/answers); what was found is in
// testdata/fuzz, and both run as ordinary tests.

// answers are the recorded answers whose name has the given words.
func answers(f *testing.F, words ...string) [][]byte {
	f.Helper()
	files, err := filepath.Glob("testdata/answers/*")
	if err != nil {
		f.Fatal(err)
	}
	var found [][]byte
	for _, file := range files {
		if !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(filepath.Base(file), word) }) {
			continue
		}
		answer, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		found = append(found, answer)
	}
	if len(found) == 0 {
		f.Fatalf("no recorded answers of %v", words)
	}
	return found
}

// fuzzed is the request that a fuzzed answer is to.
var fuzzed = (&DB{server: &server{root: mustURL("http://h")}, path: "/db"}).request(http.MethodGet, "fuzzed")

// reader reads an answer and returns what it said, item by item, and a nil error for a
// regular end.
type reader func(body io.Reader) (items []string, err error)

// checkReading checks the laws of reading an answer:
//
//   - it ends regularly or with a [CutError];
//   - how the bytes arrive does not matter;
//   - of one that is cut, what was read is what stands at the beginning of the whole, and
//     it ends with a [CutError] unless all of it was there (invariant 1: a cut must not look
//     like an end);
//   - a connection that breaks is a cut, too;
//   - what it allocates is in proportion to what was sent.
func checkReading(t *testing.T, answer []byte, cutAt uint16, read reader) {
	t.Helper()
	before := allocated()
	whole, err := read(bytes.NewReader(answer))
	if took, limit := allocated()-before, allocationLimit(answer); took > limit {
		t.Errorf("allocated %d bytes for an answer of %d", took, len(answer))
	}
	mustBeCut(t, err)
	again, errAgain := read(iotest.OneByteReader(bytes.NewReader(answer)))
	if !slices.Equal(whole, again) || (err == nil) != (errAgain == nil) {
		t.Errorf("byte by byte: %q, %v; at once: %q, %v", again, errAgain, whole, err)
	}
	cut := answer[:int(cutAt)%(len(answer)+1)]
	for name, from := range map[string]io.Reader{
		"cut":    bytes.NewReader(cut),
		"broken": io.MultiReader(bytes.NewReader(cut), iotest.ErrReader(errors.New("connection reset"))),
	} {
		part, errPart := read(from)
		mustBeCut(t, errPart)
		// What makes no sense may only show behind an item that made some.
		common := min(len(part), len(whole))
		if len(part) > len(whole) && err == nil || !slices.Equal(part[:common], whole[:common]) {
			t.Errorf("%s at %d: %q, whole: %q", name, len(cut), part, whole)
		}
		if errPart == nil && err == nil && len(part) != len(whole) {
			t.Errorf("%s at %d, it ends with %d of %d items", name, len(cut), len(part), len(whole))
		}
	}
}

// mustBeCut checks the form of an error.
func mustBeCut(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var cut *CutError
	if !errors.As(err, &cut) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%T: %v", err, err)
	}
	if errors.Is(err, io.EOF) {
		t.Errorf("a cut that matches a regular end: %v", err)
	}
}

// allocated is how much this process has allocated so far, in bytes, about: the runtime
// counts small things late, and those of others too.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// allocationLimit is what reading an answer may take: buffers, and so much for each of
// its bytes that lists of the shortest things fit (an attachment is 150 bytes for `"":{}`).
func allocationLimit(answer []byte) uint64 {
	return 16<<20 + 256*uint64(len(answer))
}
