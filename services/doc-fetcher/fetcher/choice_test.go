package fetcher

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
)

// owner is a filter by a member of documents.
type owner string

func (o owner) Match(doc []byte) (bool, error) {
	return strings.Contains(string(doc), `"owner":"`+string(o)+`"`), nil
}

func (o owner) choice(f *fetch) { f.choice = &choice{filter: o} }

const ofJoe, ofAnn = `,"owner":"joe"`, `,"owner":"ann"`

// The owner changes between the feed and the fetch: what is delivered is decided on (invariant 8), whichever way it
// is fetched in.
func TestNewerLeafIsJudgedAgain(t *testing.T) {
	large := strings.Repeat("0123456789", 130_000)
	for way, c := range map[string]struct {
		members string // of each document
		change  func(*fetch)
		batch   func(*millracev1.MissingBatch)
	}{
		"in bulk":          {members: ""},
		"with attachments": {members: photo},
		"one by one":       {members: photo, change: func(f *fetch) { f.singly = true }},
		"as large ones":    {members: photo, change: func(f *fetch) { f.known = true }},
		"once more":        {members: photo, batch: func(b *millracev1.MissingBatch) { b.Part = &millracev1.Part{Attempt: "x", Number: 1} }},
	} {
		s := source(t,
			doc("stays", ofJoe+c.members, b2, a), doc("leaves", ofAnn+c.members, b2, a), doc("as asked", ofJoe+c.members, a),
			doc("left", ofJoe+c.members, "left", a), doc("left", ofAnn+c.members, "right", a),
		)
		b := missing("stays 1-aaaa", "leaves 1-aaaa", "left 1-aaaa")
		b.Docs = append(b.Docs, &millracev1.MissingDoc{Id: "as asked", Revs: []string{"1-aaaa"}})
		if c.batch != nil {
			c.batch(b)
		}
		got := get(t, s.DB, b, func(f *fetch) {
			owner("joe").choice(f)
			if c.change != nil {
				c.change(f)
			}
		})
		all := append(got.inline, got.multi...)
		slices.Sort(all)
		expect(t, way, all, "as asked 1-aaaa", "left 2-left", "stays 2-bbbb")
		if len(got.rejected) != 0 || got.counters.DocsRead != 3 {
			t.Errorf("%s: rejected %v, read %d", way, got.rejected, got.counters.DocsRead)
		}
	}
	// In a request of many with attachments that keep their encoding.
	s := source(t)
	for _, id := range []string{"mixed-1", "mixed-2"} {
		s.PutAttachment(t, id, "a.bin", large)
	}
	var b []string
	for id, revs := range s.Leaves(t) {
		b = append(b, id+" "+revs[0])
	}
	got := get(t, s.DB, missing(b...), owner("joe").choice)
	expect(t, "large documents of nobody", append(got.inline, got.multi...))
	if len(got.rejected) != 0 || got.counters.DocsRead != 0 {
		t.Errorf("rejected %v, read %d", got.rejected, got.counters.DocsRead)
	}
}

// The revision is gone, and the leaf's history is cut off above it: it may descend from it, and is looked at like any other.
func TestLeafThatMayDescendIsJudged(t *testing.T) {
	s := source(t, `{"_id":"d","_rev":"9-cccc","_revisions":{"start":9,"ids":["cccc","bbbb"]},"owner":"ann"}`,
		`{"_id":"e","_rev":"9-cccc","_revisions":{"start":9,"ids":["cccc","bbbb"]},"owner":"joe"}`)
	got := get(t, s.DB, missing("d 3-aaaa", "e 3-aaaa"), owner("joe").choice)
	expect(t, "documents", got.inline, "e 9-cccc")
	if len(got.rejected) != 0 {
		t.Errorf("rejected %v", got.rejected)
	}
}

func TestTombstonesAreSkippedLeafByLeaf(t *testing.T) {
	s := source(t,
		doc("gone", `,"_deleted":true`, b2, a),
		doc("half", "", "left", a), doc("half", `,"_deleted":true`, "right", a), doc("alive", "", a))
	skip := func(f *fetch) { f.choice = &choice{skipDeletes: true} }
	got := get(t, s.DB, missing("gone 1-aaaa", "half 2-left 2-right", "alive 1-aaaa"), skip)
	expect(t, "documents", got.inline, "alive 1-aaaa", "half 2-left")
	if len(got.rejected) != 0 || got.counters.DocsRead != 2 {
		t.Errorf("rejected %v, counted %v", got.rejected, got.counters)
	}
}

// What a replay finds in the place of a rejected revision is not written if it is not wanted, and the record says so.
func TestReplayDoesNotBringWhatTheFilterRefuses(t *testing.T) {
	s := source(t, doc("leaves", ofAnn, b2, a), doc("stays", ofJoe, b2, a))
	b := missing("leaves 1-aaaa", "stays 1-aaaa")
	b.Position.Replay = "r"
	got := get(t, s.DB, asOnePart(b), owner("joe").choice)
	expect(t, "documents", got.inline, "stays 2-bbbb")
	if len(got.rejected) != 1 || got.rejected[0].Id != "leaves" || got.rejected[0].Rev != "1-aaaa" || got.rejected[0].Error != "filtered" || !strings.Contains(got.rejected[0].Reason, "2-bbbb") {
		t.Errorf("rejected %v", got.rejected)
	}
}

func TestErrorOfAFilterIsTheBatchs(t *testing.T) {
	s := source(t, doc("d", "", a))
	broken := errors.New("broken")
	_, err := tryGet(t, s.DB, missing("d 1-aaaa"), func(f *fetch) { f.choice = &choice{filter: failing{broken}} })
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ error }

func (f failing) Match([]byte) (bool, error) { return false, f.error }

// Filters see attachments as the source's own do: as stubs, however they came.
func TestFiltersSeeStubs(t *testing.T) {
	doc := []byte(`{"_id":"d","_attachments":{"a":{"data":"iVBO","content_type":"x/y"},"b":{"follows":true,"length":3},"c":{"stub":true}}}`)
	meta, err := rawdoc.Scan(doc)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := withStubs(meta, doc)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(seen), `"stub":true`) != 3 || strings.Contains(string(seen), "data") || strings.Contains(string(seen), "follows") {
		t.Errorf("seen %s", seen)
	}
}
