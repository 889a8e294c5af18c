package mango

import (
	"fmt"
	"strings"
	"testing"
)

// kilobyte is a document of about 1 kB, as the benchmarks of e2e have it.
func kilobyte() []byte {
	var b strings.Builder
	b.WriteString(`{"_id":"doc-000001","_rev":"1-967a00dff5e02add41819138abb3284d","owner":"user-17","n":17,"type":"order",` +
		`"created":"2026-01-01T00:00:00Z","address":{"street":"Rue de la Paix 1","city":"Paris","zip":75002},"tags":["a","b","c"],"price":12.5,"paid":true,`)
	for i := range 8 {
		fmt.Fprintf(&b, `"field%d":"%s",`, i, strings.Repeat("lorem ipsum ", 6))
	}
	b.WriteString(`"_revisions":{"start":1,"ids":["967a00dff5e02add41819138abb3284d"]}}`)
	return []byte(b.String())
}

func BenchmarkDecode(b *testing.B) {
	body := kilobyte()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for name, selector := range map[string]string{
		"equal":  `{"owner":"user-17"}`,
		"nested": `{"address.city":{"$gt":"London","$lt":"Rome"},"n":{"$in":[1,2,17]}}`,
		"regex":  `{"field3":{"$regex":"dolor"}}`,
	} {
		s, err := Parse([]byte(selector))
		if err != nil {
			b.Fatal(err)
		}
		d, err := Decode(kilobyte())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Match(d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
