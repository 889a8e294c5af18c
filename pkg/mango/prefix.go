package mango

import (
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// prefix is the argument of $beginsWith. CouchDB asks Erlang's string:prefix, for
// which the last character of a prefix must be a whole grapheme cluster of the
// value: "e" is no prefix of "e\u0301".
type prefix string

func (p prefix) match(v value, _ order, _ *string) verdict {
	text, ok := v.(string)
	if !ok || !strings.HasPrefix(text, string(p)) {
		return no
	}
	if p == "" {
		return yes
	}
	last, size := utf8.DecodeLastRuneInString(string(p))
	if next := text[len(p):]; next == "" || last < utf8.RuneSelf && last != '\r' && next[0] < utf8.RuneSelf {
		return yes
	}
	cluster, _, _, _ := uniseg.FirstGraphemeClusterInString(text[len(p)-size:], -1)
	return truth(len(cluster) == size)
}
