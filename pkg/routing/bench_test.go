package routing

import (
	"fmt"
	"strings"
	"testing"

	"millrace/pkg/mango"
)

var counts = []int{1, 20, 200, 1000, 10000}

// ownerOf is a document of about 1 kB that belongs to one of n owners.
func ownerOf(n int) []byte {
	return fmt.Appendf(nil, `{"_id":"doc-%d","_rev":"1-967a00dff5e02add41819138abb3284d","type":"order","owner":"user-%d","n":%d,"paid":true,"text":%q}`,
		n, n, n, strings.Repeat("lorem ipsum ", 70))
}

// selectors of n owners: every document matches one.
func selectors(b *testing.B, n int) []*mango.Selector {
	all := make([]*mango.Selector, n)
	for i := range all {
		all[i] = parse(b, fmt.Sprintf(`{"type":"order","owner":"user-%d"}`, i))
	}
	return all
}

// BenchmarkRoute decodes a document and finds the jobs that want it.
func BenchmarkRoute(b *testing.B) {
	for _, n := range counts {
		all := selectors(b, n)
		body := ownerOf(n / 2)
		b.Run(fmt.Sprintf("indexed/%d", n), func(b *testing.B) {
			var x Index[int]
			for job, s := range all {
				x.Add(job, s)
			}
			var hits []Hit[int]
			b.ReportAllocs()
			for b.Loop() {
				if hits = x.Match(decode(b, string(body)), hits[:0]); len(hits) != 1 {
					b.Fatalf("%d hits", len(hits))
				}
			}
		})
		b.Run(fmt.Sprintf("one-by-one/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d, hits := decode(b, string(body)), 0
				for _, s := range all {
					if ok, _ := s.Match(d); ok {
						hits++
					}
				}
				if hits != 1 {
					b.Fatalf("%d hits", hits)
				}
			}
		})
	}
}

// BenchmarkBuild enters the jobs of a feed.
func BenchmarkBuild(b *testing.B) {
	for _, n := range counts {
		all := selectors(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var x Index[int]
				for job, s := range all {
					x.Add(job, s)
				}
			}
		})
	}
}
