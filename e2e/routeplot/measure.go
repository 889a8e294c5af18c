package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/mango"
	"millrace/pkg/routing"
)

// figure is what was measured at one number of jobs, in nanoseconds.
type figure struct {
	jobs              int
	indexed, oneByOne float64 // per document
	build             float64 // to enter all jobs
}

// repeats: the middle of so many measurements is taken.
const repeats = 3

func measure(counts []int) ([]figure, error) {
	var figures []figure
	for _, n := range counts {
		selectors, err := ownersOf(n)
		if err != nil {
			return nil, err
		}
		body := document(n / 2)
		var index routing.Index[int]
		for job, s := range selectors {
			index.Add(job, s)
		}
		figures = append(figures, figure{
			jobs:     n,
			indexed:  middle(func(b *testing.B) { routeIndexed(b, &index, body) }),
			oneByOne: middle(func(b *testing.B) { routeOneByOne(b, selectors, body) }),
			build: middle(func(b *testing.B) {
				for b.Loop() {
					var x routing.Index[int]
					for job, s := range selectors {
						x.Add(job, s)
					}
				}
			}),
		})
	}
	return figures, nil
}

// ownersOf are selectors of n jobs, one for each owner; all share a second condition.
func ownersOf(n int) ([]*mango.Selector, error) {
	selectors := make([]*mango.Selector, n)
	for i := range selectors {
		var err error
		selectors[i], err = mango.Parse(fmt.Appendf(nil, `{"type":"order","owner":"user-%d"}`, i))
		if err != nil {
			return nil, err
		}
	}
	return selectors, nil
}

// document is one of 1 kB as _bulk_get hands it out; exactly one job wants it.
func document(owner int) []byte {
	return fmt.Appendf(nil, `{"_id":"doc-%d","_rev":"1-967a00dff5e02add41819138abb3284d","type":"order","owner":"user-%d",`+
		`"n":%d,"paid":true,"text":%q,"_revisions":{"start":1,"ids":["967a00dff5e02add41819138abb3284d"]}}`,
		owner, owner, owner, strings.Repeat("lorem ipsum ", 65))
}

func routeIndexed(b *testing.B, index *routing.Index[int], body []byte) {
	var hits []routing.Hit[int]
	for b.Loop() {
		doc, err := mango.Decode(body)
		if hits = index.Match(doc, hits[:0]); err != nil || len(hits) != 1 {
			b.Fatalf("%d hits: %v", len(hits), err)
		}
	}
}

func routeOneByOne(b *testing.B, selectors []*mango.Selector, body []byte) {
	for b.Loop() {
		doc, err := mango.Decode(body)
		hits := 0
		for _, s := range selectors {
			if matched, _ := s.Match(doc); matched {
				hits++
			}
		}
		if err != nil || hits != 1 {
			b.Fatalf("%d hits: %v", hits, err)
		}
	}
}

func middle(run func(*testing.B)) float64 {
	var ns []float64
	for range repeats {
		r := testing.Benchmark(run)
		ns = append(ns, float64(r.T.Nanoseconds())/float64(r.N))
	}
	slices.Sort(ns)
	return ns[len(ns)/2]
}
