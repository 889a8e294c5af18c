package mangotest

import (
	"math/rand/v2"
	"unicode"
)

// scripts are tables of characters from which random strings are made; marks and
// characters of contractions come with all of them.
var scripts = []*unicode.RangeTable{
	unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Hebrew, unicode.Arabic, unicode.Devanagari, unicode.Thai, unicode.Lao,
	unicode.Hangul, unicode.Hiragana, unicode.Katakana, unicode.Han, unicode.Tibetan, unicode.Bengali, unicode.Myanmar,
	unicode.S, unicode.P, unicode.N, unicode.Mn, unicode.Z, unicode.Cf,
}

// together are characters that make contractions, or that a collation could stumble at.
var together = []rune("lL·\u0387ИиУу\u0306\u0308\u0627\u0648\u064a\u0653\u0654\u0655\u0323\u0301\u0345\u09c7\u09be\u0e40\u0e01\u0e48\u0ec0\u0e81" +
	"\u0f71\u0f72\u0f80\u0fb2\u0f81\u0dd9\u0dcf\u1025\u102e\ufffd\u0378\U0010fffd\u034f\u3099\u304b\u30fc\u1100\u1161\u11a8가각aAeEzZ09 -_\u0000\u200d\u212a\u212b")

func randomRune(r *rand.Rand, script *unicode.RangeTable) rune {
	switch r.IntN(8) {
	case 0:
		return together[r.IntN(len(together))]
	case 1:
		return rune(' ' + r.IntN('~'-' '))
	}
	n := 0
	each(script, func(lo, hi, stride rune) { n += int((hi-lo)/stride) + 1 })
	k, found := r.IntN(n), rune(0)
	each(script, func(lo, hi, stride rune) {
		if count := int((hi-lo)/stride) + 1; k >= 0 && k < count {
			found = lo + rune(k)*stride
			k = -1
		} else {
			k -= count
		}
	})
	return found
}

func each(t *unicode.RangeTable, yield func(lo, hi, stride rune)) {
	for _, r := range t.R16 {
		yield(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range t.R32 {
		yield(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
}

// Strings are n strings of many scripts, many of them near to one another: the same
// from the same seed.
func Strings(seed uint64, n int) []string {
	r := rand.New(rand.NewPCG(seed, 1))
	all := make([]string, n)
	for i := range all {
		script := scripts[r.IntN(len(scripts))]
		var s []rune
		if i > 0 && r.IntN(2) == 0 {
			s = []rune(all[i-1])
			at := r.IntN(len(s) + 1)
			s = append(s[:at:at], append([]rune{randomRune(r, script)}, s[min(at+r.IntN(2), len(s)):]...)...)
		} else {
			for range 1 + r.IntN(4) {
				s = append(s, randomRune(r, script))
			}
		}
		all[i] = string(s)
	}
	return all
}
