package dataset

import (
	"fmt"
	"strings"

	"millrace/e2e/peer"
)

// How deep the nested bodies are. Both CouchDB and encoding/json go further.
const (
	depthOfArrays  = 500
	depthOfObjects = 200
)

// body is the members of a document, with what a server must be able to do.
type body struct {
	name, fields string
	possible     bool
}

// bodies are documents whose difficulty is their content. Numbers that a server
// keeps by value only are written all the same: they must not change further on
// the way.
func bodies(g generator, can peer.Capabilities) []document {
	exact := can.Numbers == peer.AsWritten
	all := []body{
		{"empty", ``, true},
		{"null", `"v":null`, true},
		{"empties", `"a":[],"o":{},"s":"","n":0,"f":false,"z":null`, true},
		{"integers", `"zero":0,"one":1,"minus":-1,"max":9007199254740991,"min":-9007199254740991`, true},
		{"big-integers", `"i63":9223372036854775807,"u63":9223372036854775808,"u64":18446744073709551616,` +
			`"big":123456789012345678901234567890,"minus":-9223372036854775809`, true},
		{"negative-zero", `"i":-0,"f":-0.0,"e":-0e0`, true},
		{"trailing-zeros", `"v":0.1000,"w":1.0,"x":1.50,"y":100.00`, true},
		{"exponents", `"a":1E+2,"b":1e2,"c":1E-2,"d":1e+02,"e":0e10,"f":1e21,"g":1e-7`, true},
		{"limits", `"max":1.7976931348623157e308,"min":2.2250738585072014e-308,"third":0.30000000000000004`, true},
		{"beyond-limits", `"big":1e400,"minus":-1e400,"small":1e-400,"subnormal":5e-324`, exact},
		{"many-digits", `"pi":3.14159265358979323846264338327950288419716939937510,"half":100000000000000000000000.5`, exact},
		{"duplicate-keys", `"a":1,"a":2,"o":{"x":1,"y":0,"x":2}`, can.DuplicateKeys},
		{"key-order", `"z":1,"a":2,"m":{"z":1,"a":2},"10":3,"9":4,"1":5`, true},
		{"empty-key", `"":1,"o":{"":{"":[]}}`, true},
		{"awkward-keys", `"a.b":1,"a\\.b":2,"$gt":3,"a b":4,"\u0000":5,"caf\u00e9":6,"cafe\u0301":7,"\ud83d\ude00":8,"\"":9,"constructor":10`, true},
		{"escapes", `"v":"\u0000\u0001\u001f\u007f\b\f\n\r\t\"\\\/\u00e9\u2028\u2029\ufeff\ud83d\ude00"`, true},
		{"same-unescaped", "\"v\":\"\x7f\u00e9\u2028\u2029\ufeff\U0001f600/\"", true},
		{"noncharacters", `"v":"\uffff\ufffe\ufdd0\udbff\udfff"`, true},
		{"lone-surrogates", `"high":"\ud83d","low":"\ude00","swapped":"\ude00\ud83d"`, can.LoneSurrogates},
		{"whitespace", " \n\t\"v\" :\r\n [ 1 , { } , [ ] ] ", true},
		{"like-metadata", `"id":"x","rev":"1-x","ok":true,"error":"not_found","missing":"1-x","rows":[{"_id":"inner","_rev":"9-x","_deleted":true}]`, true},
		{"like-markup", `"v":"--boundary\r\nContent-Type: text/html\r\n\r\n</script>{\"_id\":\"x\"}"`, true},
		{"deep-arrays", `"v":` + strings.Repeat("[", depthOfArrays) + strings.Repeat("]", depthOfArrays), true},
		{"deep-objects", `"v":` + strings.Repeat(`{"k":`, depthOfObjects) + `1` + strings.Repeat("}", depthOfObjects), true},
		{"wide", wide(1000), true},
		{"long-string", `"v":"` + string(g.text(300_000)) + `"`, true},
	}
	var docs []document
	for _, b := range all {
		if b.possible {
			docs = append(docs, document{id: "body-" + b.name, start: 1, history: g.hashes(1), fields: b.fields})
		}
	}
	return docs
}

// wide is an object with n keys.
func wide(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf(`"key%d":%d`, (i*7919)%n, i)
	}
	return strings.Join(members, ",")
}
