package writer

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// sink is a database that takes everything and remembers the sizes of the requests.
type sink struct {
	sizes []int
	docs  int
}

func (s *sink) BulkDocs(_ context.Context, docs [][]byte, _ couch.BulkDocsOptions) ([]couch.DocResult, error) {
	size := 0
	for _, d := range docs {
		size += len(d)
	}
	s.sizes, s.docs = append(s.sizes, size), s.docs+len(docs)
	return nil, nil
}

// gather writes documents of these sizes that came in several messages.
func gather(t interface{ Fatal(...any) }, messages [][]int) *sink {
	db := &sink{}
	var refs []*millracev1.BodyRef
	var docs [][]document
	for _, sizes := range messages {
		ref := &millracev1.BodyRef{}
		var of []document
		for _, n := range sizes {
			d := &millracev1.DocRef{Length: uint32(n)}
			ref.Docs, of = append(ref.Docs, d), append(of, document{d, make([]byte, n)})
		}
		refs, docs = append(refs, ref), append(docs, of)
	}
	r := requests{apply: &apply{db: db}, enough: share(bodyBytes(refs))}
	for _, of := range docs {
		if err := r.add(context.Background(), of); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.send(context.Background()); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestMessagesOfABatchAreWrittenTogether(t *testing.T) {
	const kB = 1 << 10
	for name, c := range map[string]struct {
		messages [][]int
		requests int
	}{
		"nothing":                 {nil, 0},
		"one":                     {[][]int{{kB}}, 1},
		"a full one and the rest": {[][]int{{400 * kB}, {100 * kB}}, 1},
		"just too much for one":   {[][]int{{300 * kB, 300 * kB}, {300 * kB, 300 * kB}}, 2},
		"a large one":             {[][]int{{kB}, {5000 * kB}, {kB}}, 3},
	} {
		if s := gather(t, c.messages); len(s.sizes) != c.requests {
			t.Errorf("%s: requests of %d bytes", name, s.sizes)
		}
	}
	if s := gather(t, [][]int{{300 * kB, 300 * kB}, {300 * kB, 300 * kB}}); s.sizes[0] != s.sizes[1] {
		t.Errorf("requests of %d bytes are not about equal", s.sizes)
	}
}

func TestRequestsHoldEveryDocumentWithinTheirSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{1, 1000, requestBytes / 5, requestBytes / 2, requestBytes, requestBytes + 1})
		messages := rapid.SliceOfN(rapid.SliceOfN(size, 0, 6), 0, 5).Draw(t, "messages")
		s := gather(t, messages)
		total, docs := 0, 0
		for _, m := range messages {
			for _, n := range m {
				total, docs = total+n, docs+1
			}
		}
		for _, n := range s.sizes {
			if n > requestBytes+1 {
				t.Fatalf("requests of %d bytes", s.sizes)
			}
			total -= n
		}
		if total != 0 || docs != s.docs {
			t.Fatalf("%d bytes and %d of %d documents were not written", total, docs-s.docs, docs)
		}
	})
}

func (s *sink) WriteBeside(context.Context, string) error { return nil }
