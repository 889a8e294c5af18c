package verify

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// appendText appends what a JSON string (valid, with its quotes) says. Half of a
// surrogate pair has no form in UTF-8 and becomes the three bytes that its number
// would have, so that different halves stay different: a library's unquoting would make
// U+FFFD of both, and of invalid bytes.
func appendText(dst, quoted []byte) []byte {
	rest := quoted[1 : len(quoted)-1]
	for {
		at := bytes.IndexByte(rest, '\\')
		if at < 0 {
			return append(dst, rest...)
		}
		dst = append(dst, rest[:at]...)
		if rest[at+1] != 'u' {
			dst = append(dst, unescaped(rest[at+1]))
			rest = rest[at+2:]
			continue
		}
		var r rune
		r, rest = cutUnicode(rest[at:])
		dst = appendRune(dst, r)
	}
}

// unescaped is the character that an escape of two characters stands for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // quote, backslash, slash
}

// unicodeEscape is the length of an escape \uXXXX.
const unicodeEscape = 6

// cutUnicode reads the escape \uXXXX at the start of text, with the one behind it
// where the two are a surrogate pair.
func cutUnicode(text []byte) (rune, []byte) {
	r, rest := hexRune(text), text[unicodeEscape:]
	if len(rest) >= unicodeEscape && rest[0] == '\\' && rest[1] == 'u' {
		if pair := utf16.DecodeRune(r, hexRune(rest)); pair != utf8.RuneError {
			return pair, rest[unicodeEscape:]
		}
	}
	return r, rest
}

func hexRune(escape []byte) rune {
	r, _ := strconv.ParseUint(string(escape[2:unicodeEscape]), 16, 32) // the decoder has checked it
	return rune(r)
}

func appendRune(dst []byte, r rune) []byte {
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(dst, r)
	}
	return append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
}
