package collation

import "cmp"

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

// compareASCII compares without the tables. ok is false if there is anything but
// ASCII that counts.
func compareASCII(a, b string) (c int, ok bool) {
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
		third = first
	}
	return cmp.Compare(third, 0), true
}

// IsPlain says whether a string is of ASCII without control characters, except for
// those that are spaces. No two such strings are equal to the collation.
func IsPlain(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 || asciiWeights[s[i]] == 0 {
			return false
		}
	}
	return true
}
