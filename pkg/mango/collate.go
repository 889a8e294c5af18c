package mango

import (
	"sync"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
)

var collators = sync.Pool{New: func() any { return collate.New(language.Und) }}

// collateStrings compares two strings as ICU's root collator does.
func collateStrings(a, b string) int {
	if a == b {
		return 0
	}
	if c, ok := collateASCII(a, b); ok {
		return c
	}
	c := collators.Get().(*collate.Collator)
	defer collators.Put(c)
	return c.CompareString(a, b)
}

// appendSortKey appends a key that is the same for strings that collateStrings finds
// equal.
func appendSortKey(dst []byte, s string) []byte {
	c := collators.Get().(*collate.Collator)
	defer collators.Put(c)
	var buf collate.Buffer
	return append(dst, c.KeyFromString(&buf, s)...)
}

// asciiOrder are the ASCII characters in the root collation, small letters before
// the capital ones that differ from them only at the third level.
const asciiOrder = "\t\n\v\f\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789" +
	"aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUvVwWxXyYzZ"

// asciiWeights has for each ASCII character its place among those that differ at
// the first level; 0 for control characters, which count for nothing.
var asciiWeights = func() (w [128]byte) {
	for i := range len(asciiOrder) {
		c := asciiOrder[i]
		w[c] = byte(i + 1)
		if 'A' <= c && c <= 'Z' {
			w[c]--
		}
	}
	return w
}()

// collateASCII compares without the tables. ok is false if there is anything but
// ASCII that counts.
func collateASCII(a, b string) (c int, ok bool) {
	first, third := 0, 0
	for i := range max(len(a), len(b)) {
		var wa, wb int
		if i < len(a) {
			if a[i] >= 128 || asciiWeights[a[i]] == 0 {
				return 0, false
			}
			wa = int(asciiWeights[a[i]])
		}
		if i < len(b) {
			if b[i] >= 128 || asciiWeights[b[i]] == 0 {
				return 0, false
			}
			wb = int(asciiWeights[b[i]])
		}
		if first == 0 {
			first = wa - wb
		}
		if third == 0 && wa == wb && a[i] != b[i] {
			third = int(b[i]) - int(a[i]) // the small letter is first
		}
	}
	if first != 0 {
		return first, true
	}
	return third, true
}
