package fetcher

import (
	"fmt"
	"testing"

	"millrace/pkg/bodymessage"
	millracev1 "millrace/proto/millrace/v1"
)

// readForFilter is a message of BODIES with documents that somebody has read.
func readForFilter(number uint32, length uint32, docs ...string) *millracev1.BodyRef {
	ref := &millracev1.BodyRef{Sequence: 100 + uint64(number), Number: number, Prefix: "selector"}
	for i, id := range docs {
		ref.Docs = append(ref.Docs, &millracev1.DocRef{Id: id, Rev: "1-aaaa", Offset: uint32(i) * (length + 1), Length: length})
	}
	return ref
}

func TestWhatWasReadForAFilterIsNotReadAgain(t *testing.T) {
	s := source(t, doc("one", "", a), doc("two", "", a), doc("three", "", a))
	b := missing("one 1-aaaa", "two 1-aaaa", "three 1-aaaa")
	b.Bodies = []*millracev1.BodyRef{readForFilter(1, 10, "one", "unwanted", "two")}
	got := get(t, s.DB, b, nil)
	expect(t, "documents", got.inline, "one 1-aaaa", "three 1-aaaa", "two 1-aaaa")
	refs := got.parts[0].Bodies
	if len(refs) != 2 || refs[0].Prefix != "selector" || refs[0].Sequence != 101 || refs[0].Number != 1 || refs[1].Prefix != "" {
		t.Errorf("references %v", refs)
	}
	if d := refs[0].Docs; len(d) != 2 || d[1].Offset != 22 {
		t.Errorf("documents %v", d)
	}
	if c := got.counters; c.DocsRead != 3 || c.BulkGetAttempts != 1 || c.BulkGetDocs != 1 {
		t.Errorf("counted %v", c)
	}
}

func TestNothingIsAskedForWhereAllWasRead(t *testing.T) {
	s := source(t, doc("one", "", a))
	b := missing("one 1-aaaa")
	b.Bodies = []*millracev1.BodyRef{readForFilter(1, 10, "one")}
	got := get(t, s.DB, b, nil)
	expect(t, "documents", got.inline, "one 1-aaaa")
	if n := s.Server.Requests().Of("POST", "_bulk_get"); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// They count for the size of a part as what is fetched does: a job that is slow to write holds no more of BODIES.
func TestPartsOfWhatWasReadAreBoundedInSize(t *testing.T) {
	s := &shelf{}
	p := newPacker(s, batch(), "a1")
	wanted := map[revision]bool{}
	const messages = 3 * partBytes / bodymessage.Full
	for i := range messages {
		id := fmt.Sprint(i)
		wanted[revision{id, "1-aaaa"}] = true
		if err := p.handOver(t.Context(), readForFilter(uint32(i), bodymessage.Full, id), wanted); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	docs := 0
	for i, part := range s.parts {
		size := 0
		for _, ref := range part.Bodies {
			docs += len(ref.Docs)
			size += int(ref.Docs[0].Length)
		}
		if size >= partBytes+bodymessage.Full || part.Part.Last != (i == len(s.parts)-1) {
			t.Errorf("part %v has %d bytes", part.Part, size)
		}
	}
	if docs != messages || len(s.parts) < 3 {
		t.Errorf("%d documents in %d parts", docs, len(s.parts))
	}
}
