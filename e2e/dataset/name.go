package dataset

import (
	"fmt"
	"strings"
)

// awkwardIDs have to be escaped in a path, in a query, in JSON or in several.
var awkwardIDs = []string{
	"a/b", "a/b/c", "/", "a//b", ".", "..", "a/../b",
	"a+b", "+", "a b", " ", " leading", "trailing ", "a%b", "%2F", "%252F", "%00", "100%",
	"a?b=c&d#e", "a;b", "a:b", "a=b", "a@b", "a,b", "a|b", "a*b", "a~b", "$1", "[]", "{}", "()",
	`"quoted"`, "'single'", "`back`", `back\slash`, "<tag>&amp;",
	"tab\tnewline\nreturn\r", "nul\x00", "bell\x07", "escape\x1b[31m", "delete\x7f",
	"c1\u0085control", "line\u2028separator", "\ufeffbom", "\u202eoverride", "zero\u200bwidth", "\uffff",
	"caf\u00e9", "cafe\u0301", "\u1e69", "s\u0323\u0307", "\u212b", "\ufb01",
	"\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u65e5\u672c\u8a9e", "\u05e9\u05dc\u05d5\u05dd", "\U0010ffff",
	"0", "-1", "1e400", "true", "null", "undefined", "NaN", "constructor", "toString", "hasOwnProperty",
	"A", "a", "-", "~", "doc", "DOC",
}

// longID is how many characters of three bytes the longest id has: escaped, it is
// nearly all of the 8 kB that servers allow a request line.
const longID = 800

// names are documents whose difficulty is their id.
func names(g generator) []document {
	docs := make([]document, 0, len(awkwardIDs)+1)
	for _, id := range append(awkwardIDs, strings.Repeat("\u6c34", longID)) {
		docs = append(docs, document{
			id: id, start: 1, history: g.hashes(1), fields: fmt.Sprintf(`"id":%s`, quote(id)),
		})
	}
	return docs
}
