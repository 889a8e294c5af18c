package fetcher

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"millrace/pkg/bodymessage"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is an outlet that keeps what it gets.
type shelf struct {
	ids    []string
	bodies [][]byte
	parts  []*millracev1.WriteBatch
}

// sequence is the future of a message of BODIES, known at once.
type sequence uint64

func (s sequence) Wait(context.Context) (uint64, error) { return uint64(s), nil }

// firstSequence is not 1, so that a sequence and a number are not the same.
const firstSequence = 1000

func (s *shelf) body(_ context.Context, id string, payload []byte) (future, error) {
	var m millracev1.Bodies
	if err := proto.Unmarshal(payload, &m); err != nil {
		return nil, err
	}
	s.ids, s.bodies = append(s.ids, id), append(s.bodies, m.Docs)
	return sequence(firstSequence + len(s.bodies)), nil
}

func (s *shelf) part(_ context.Context, p *millracev1.WriteBatch) error {
	s.parts = append(s.parts, proto.CloneOf(p))
	return nil
}

// read returns what a reference refers to.
func (s *shelf) read(p *millracev1.WriteBatch, ref *millracev1.BodyRef) ([]byte, error) {
	i := int(ref.Sequence) - firstSequence - 1
	if i < 0 || i >= len(s.bodies) {
		return nil, fmt.Errorf("no message %d", ref.Sequence)
	}
	if want := fmt.Sprintf("%s.%d", p.BodyPrefix, ref.Number); s.ids[i] != want {
		return nil, fmt.Errorf("message %d has id %s and not %s", ref.Sequence, s.ids[i], want)
	}
	return s.bodies[i], nil
}

// docs are the documents of all parts, in order.
func (s *shelf) docs() (map[revision][]byte, error) {
	all := map[revision][]byte{}
	keep := func(d *millracev1.DocRef, body []byte) error {
		r := revision{d.Id, d.Rev}
		if all[r] != nil {
			return fmt.Errorf("%v is packed twice", r)
		}
		all[r] = body[d.Offset : d.Offset+d.Length]
		return nil
	}
	for _, p := range s.parts {
		refs := p.Bodies
		for _, m := range p.Multiparts {
			refs = append(refs, m.Doc)
		}
		for _, ref := range refs {
			body, err := s.read(p, ref)
			if err != nil {
				return nil, err
			}
			for _, d := range ref.Docs {
				if err := keep(d, body); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, nil
}

func batch() *millracev1.MissingBatch {
	return &millracev1.MissingBatch{
		Position: &millracev1.Position{Job: "j", Run: 1, Feed: "f", Ordinal: 4},
		Counters: &millracev1.Counters{MissingChecked: 11, MissingFound: 7},
	}
}

// check looks at what all packings have in common: parts numbered from 1, the last one
// marked, the counters of the stage before once, and all that was added, once.
func check(s *shelf, added map[revision][]byte) error {
	total := &millracev1.Counters{}
	for i, p := range s.parts {
		if p.Part.Attempt != "a1" || p.Part.Number != uint32(i+1) || p.Part.Last != (i == len(s.parts)-1) {
			return fmt.Errorf("part %d of %d is %v", i+1, len(s.parts), p.Part)
		}
		total.MissingChecked += p.Counters.MissingChecked
		total.MissingFound += p.Counters.MissingFound
		total.DocsRead += p.Counters.DocsRead
	}
	if total.MissingChecked != 11 || total.MissingFound != 7 || total.DocsRead != uint64(len(added)) {
		return fmt.Errorf("counted %v", total)
	}
	got, err := s.docs()
	if err != nil {
		return err
	}
	if len(got) != len(added) {
		return fmt.Errorf("%d documents of %d", len(got), len(added))
	}
	for r, doc := range added {
		if !bytes.Equal(got[r], doc) {
			return fmt.Errorf("%v came out as %q", r, got[r])
		}
	}
	return nil
}

func meta(id, rev string) rawdoc.Meta { return rawdoc.Meta{ID: id, Rev: rev} }

func TestEveryDocumentComesOutAsItWentIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &shelf{}
		p := newPacker(s, batch(), "a1")
		added := map[revision][]byte{}
		for i := range rapid.IntRange(0, 8).Draw(t, "documents") {
			size := rapid.SampledFrom([]int{2, 10, 100, bodymessage.Full / 3, bodymessage.Full - 1, bodymessage.Full, bodymessage.Full + 1, partBytes / 3}).Draw(t, "size")
			r := revision{fmt.Sprint("d", i), "1-a"}
			doc := append([]byte(fmt.Sprint(i)), bytes.Repeat([]byte("x"), size)...)
			added[r] = doc
			var err error
			if rapid.IntRange(0, 4).Draw(t, "multipart") == 0 {
				err = p.addMultipart(t.Context(), meta(r.id, r.rev), doc, false, nil)
			} else {
				err = p.add(t.Context(), meta(r.id, r.rev), bytes.Clone(doc), false)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := p.finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := check(s, added); err != nil {
			t.Fatal(err)
		}
		for i, b := range s.bodies {
			if n := bytes.Count(b, []byte(",")); len(b) > bodymessage.Full && n > 0 {
				t.Fatalf("message %d has %d bytes of several documents", i, len(b))
			}
		}
	})
}

func TestDocumentsOfAMessageAreReadyForOneRequest(t *testing.T) {
	s := &shelf{}
	p := newPacker(s, batch(), "a1")
	for _, doc := range []string{`{"_id":"a"}`, `{"_id":"b"}`} {
		if err := p.add(t.Context(), meta(doc, "1-a"), []byte(doc), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.bodies) != 1 || string(s.bodies[0]) != `{"_id":"a"},{"_id":"b"}` {
		t.Errorf("bodies %q", s.bodies)
	}
}

func TestPartIsPublishedBeforeTheRestIsFetched(t *testing.T) {
	s := &shelf{}
	p := newPacker(s, batch(), "a1")
	for i := range 3 {
		if err := p.add(t.Context(), meta(fmt.Sprint(i), "1-a"), make([]byte, partBytes/2+1), false); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.parts) != 1 || s.parts[0].Part.Last {
		t.Errorf("%d parts are published of a batch that is not read to its end", len(s.parts))
	}
}

// A part that is fetched again is one part, whatever its size: that is what the watermark waits for.
func TestPartThatIsFetchedAgainStaysOne(t *testing.T) {
	b := batch()
	b.Part = &millracev1.Part{Attempt: "the first", Number: 3, Last: true}
	s := &shelf{}
	p := newPacker(s, b, "a2")
	for i := range 5 {
		if err := p.add(t.Context(), meta(fmt.Sprint(i), "1-a"), make([]byte, partBytes/2), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.parts) != 1 || !proto.Equal(s.parts[0].Part, b.Part) || s.parts[0].BodyPrefix != "a2" {
		t.Errorf("%d parts, the first is %v", len(s.parts), s.parts[0].Part)
	}
	if docs, err := s.docs(); err != nil || len(docs) != 5 {
		t.Errorf("%d documents, %v", len(docs), err)
	}
}

func TestEmptyBatchIsSaidToBeDone(t *testing.T) {
	s := &shelf{}
	if err := newPacker(s, batch(), "a1").finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := check(s, nil); err != nil || len(s.parts) != 1 {
		t.Errorf("%d parts, %v", len(s.parts), err)
	}
}

func TestRevisionIsFreshOnce(t *testing.T) {
	p := newPacker(&shelf{}, batch(), "a1")
	if !p.fresh("a", "2-x") || p.fresh("a", "2-x") || !p.fresh("a", "2-y") || !p.fresh("b", "2-x") {
		t.Error("revisions are told apart by id and rev")
	}
}
