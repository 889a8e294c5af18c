package compare

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// unquote is what a JSON string (valid, with its quotes) says. Half of a surrogate
// pair, which UTF-8 has no form for, becomes the three bytes that its number would
// have: not valid UTF-8, but different for different halves.
func unquote(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	out := make([]byte, 0, len(inner))
	for len(inner) > 0 {
		if inner[0] != '\\' {
			n := bytes.IndexByte(inner, '\\')
			if n < 0 {
				n = len(inner)
			}
			out, inner = append(out, inner[:n]...), inner[n:]
			continue
		}
		if inner[1] != 'u' {
			out, inner = append(out, unescaped(inner[1])), inner[2:]
			continue
		}
		r := hexUnit(inner[2:6])
		inner = inner[6:]
		if len(inner) >= 6 && inner[0] == '\\' && inner[1] == 'u' {
			if pair := utf16.DecodeRune(r, hexUnit(inner[2:6])); pair != utf8.RuneError {
				r, inner = pair, inner[6:]
			}
		}
		out = appendRune(out, r)
	}
	return string(out)
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
	default:
		return c // quote, backslash, slash
	}
}

func hexUnit(digits []byte) rune {
	unit, err := strconv.ParseUint(string(digits), 16, 16)
	if err != nil {
		panic(err) // the decoder has checked the string
	}
	return rune(unit)
}

func appendRune(out []byte, r rune) []byte {
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(out, r)
	}
	return append(out, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0xbf, 0x80|byte(r)&0xbf)
}
