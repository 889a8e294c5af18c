package random

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"

	"pgregory.net/rapid"
)

// documents is how many ids are edited: so few that edits meet.
const documents = 60

// editor makes random changes, as clients of either database do.
type editor struct {
	sides []*side
	made  int             // revisions and contents so far: all differ
	kept  map[string]bool // documents that b refused in some revision
	gone  map[string]bool // documents purged somewhere
	count map[string]int  // of operations that changed something
	last  string          // document of the newest operation
	// mark adds to what is written of a document; nil adds nothing.
	mark func(t *rapid.T, doc map[string]any)
}

func newEditor(sides ...*side) *editor {
	return &editor{sides: sides, kept: map[string]bool{}, gone: map[string]bool{}, count: map[string]int{}}
}

func (e *editor) side(t *rapid.T) *side { return rapid.SampledFrom(e.sides).Draw(t, "side") }

func (e *editor) id(t *rapid.T) string {
	e.last = idOf(rapid.IntRange(0, documents-1).Draw(t, "doc"))
	return e.last
}

func idOf(n int) string {
	if n%10 == 0 {
		return fmt.Sprintf("ä/%d+ %%", n)
	}
	return fmt.Sprintf("doc-%02d", n)
}

// marked is a document with its marks.
func (e *editor) marked(t *rapid.T, doc map[string]any) map[string]any {
	if e.mark != nil {
		e.mark(t, doc)
	}
	return doc
}

// next is a number that no other revision or content of the run has.
func (e *editor) next() int { e.made++; return e.made }

// leaf is one of a document's leaves; ok is false if it is not there.
func (e *editor) leaf(t *rapid.T, s *side, id string) (doc document, ok bool) {
	docs := s.open(t, id)
	choice := rapid.IntRange(0, 7).Draw(t, "leaf")
	if len(docs) == 0 {
		return document{}, false
	}
	return docs[choice%len(docs)], true
}

// edit writes a document as a client does: new, or in the place of a leaf, with the
// leaf's attachments and perhaps some of its own.
func (e *editor) edit(t *rapid.T) {
	s, id := e.side(t), e.id(t)
	old, there := e.leaf(t, s, id)
	doc := map[string]any{"n": e.next(), "text": text(e.made, rapid.IntRange(0, 400).Draw(t, "size"))}
	attachments := e.attachments(t)
	if there && !old.Deleted {
		doc["_rev"] = old.Rev
		for name := range old.Attachments {
			if _, replaced := attachments[name]; !replaced && rapid.Bool().Draw(t, "keep") {
				attachments[name] = map[string]any{"stub": true}
			}
		}
	}
	if len(attachments) > 0 {
		doc["_attachments"] = attachments
	}
	if s.name == "a" && rapid.IntRange(0, 5).Draw(t, "refuse") == 0 {
		doc["refuse"] = true
		e.kept[id] = true
	}
	e.put(t, s, id, doc, "edit")
}

// remove deletes a leaf.
func (e *editor) remove(t *rapid.T) {
	s, id := e.side(t), e.id(t)
	old, there := e.leaf(t, s, id)
	if !there || old.Deleted {
		return
	}
	doc := map[string]any{"_rev": old.Rev, "_deleted": true}
	if rapid.Bool().Draw(t, "says why") {
		doc["why"] = e.next()
	}
	e.put(t, s, id, doc, "delete")
}

func (e *editor) put(t *rapid.T, s *side, id string, doc map[string]any, what string) {
	if _, done := s.may(t, http.MethodPut, "/"+escape(id), marshal(t, e.marked(t, doc))); done {
		e.count[what]++
	}
}

// conflict writes revisions with a history, as a replicator does: a branch from
// somewhere in a leaf's history, or one that has nothing to do with it.
func (e *editor) conflict(t *rapid.T) {
	s, id := e.side(t), e.id(t)
	old, there := e.leaf(t, s, id)
	path := revisions{}
	if there && rapid.IntRange(0, 4).Draw(t, "unrelated") > 0 {
		back := rapid.IntRange(0, 3).Draw(t, "back")
		back = min(back, len(old.Revisions.IDs)-1)
		path = revisions{old.Revisions.Start - back, old.Revisions.IDs[back:]}
	}
	for range rapid.IntRange(1, 3).Draw(t, "generations") {
		path.Start++
		path.IDs = append([]string{fmt.Sprintf("%032x", 1<<40+e.next())}, path.IDs...)
	}
	doc := map[string]any{"_id": id, "_revisions": path, "n": e.next()}
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		doc["_deleted"] = true
	case 1:
		if s.name == "a" {
			doc["refuse"] = true
			e.kept[id] = true
		}
	case 2, 3:
		attachments := e.attachments(t)
		for _, attachment := range attachments {
			attachment["revpos"] = path.Start
		}
		doc["_attachments"] = attachments
	}
	s.must(t, http.MethodPost, "/_bulk_docs", marshal(t, map[string]any{"new_edits": false, "docs": []any{e.marked(t, doc)}}))
	e.count["conflict"]++
}

// kinds of attachments: those that servers compress, and those that they do not.
var kinds = []string{"text/plain", "application/json", "image/png", "application/octet-stream"}

// attachments draws what a document brings with it.
func (e *editor) attachments(t *rapid.T) map[string]map[string]any {
	drawn := make(map[string]map[string]any)
	for range max(0, rapid.IntRange(-4, 3).Draw(t, "attachments")) {
		size := rapid.SampledFrom([]int{0, 1, 100, 5_000, 60_000, 400_000}).Draw(t, "bytes")
		drawn[rapid.SampledFrom([]string{"a", "b.txt", "ü/c d"}).Draw(t, "name")] = map[string]any{
			"content_type": rapid.SampledFrom(kinds).Draw(t, "type"),
			"data":         base64.StdEncoding.EncodeToString(content(e.next(), size)),
		}
	}
	return drawn
}

// attach puts an attachment by itself, packed by the client or not.
func (e *editor) attach(t *rapid.T) {
	s, id := e.side(t), e.id(t)
	old, there := e.leaf(t, s, id)
	data := content(e.next(), rapid.SampledFrom([]int{10, 3_000, 100_000}).Draw(t, "bytes"))
	header := []string{"Content-Type", rapid.SampledFrom(kinds).Draw(t, "type")}
	if rapid.Bool().Draw(t, "packed") {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write(data); err != nil {
			t.Fatalf("%v", err)
		}
		if err := w.Close(); err != nil {
			t.Fatalf("%v", err)
		}
		data, header = packed.Bytes(), append(header, "Content-Encoding", "gzip")
	}
	path := "/" + escape(id) + "/by%20itself"
	if there && !old.Deleted {
		path += "?rev=" + old.Rev
	}
	if _, done := s.may(t, http.MethodPut, path, data, header...); done {
		e.count["attach"]++
	}
}

// purge makes a database forget a document, or one of its leaves.
func (e *editor) purge(t *rapid.T) {
	s, id := e.side(t), e.id(t)
	docs := s.open(t, id)
	if !rapid.Bool().Draw(t, "whole") && len(docs) > 0 {
		docs = docs[:1]
	}
	if len(docs) == 0 {
		return
	}
	var revs []string
	for _, doc := range docs {
		revs = append(revs, doc.Rev)
	}
	s.must(t, http.MethodPost, "/_purge", marshal(t, map[string][]string{id: revs}))
	e.gone[id] = true
	e.count["purge"]++
}

// compact makes a database drop what is no leaf.
func (e *editor) compact(t *rapid.T) {
	e.side(t).must(t, http.MethodPost, "/_compact", nil)
	e.count["compact"]++
}

// mend edits whatever was purged anywhere wherever it still is, so that it is
// offered again.
func (e *editor) mend(t *rapid.T) {
	for id := range e.gone {
		for _, s := range e.sides {
			s.eventually(t, "edit what was purged", func() bool {
				docs := s.open(t, id)
				if len(docs) == 0 {
					return true
				}
				doc := map[string]any{"n": e.next()}
				for _, d := range docs { // the last live one; a deleted document needs no revision
					if !d.Deleted {
						doc["_rev"] = d.Rev
					}
				}
				_, done := s.may(t, http.MethodPut, "/"+escape(id), marshal(t, doc))
				return done
			})
		}
	}
}

func marshal(t fataler, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return body
}

func text(seed, size int) string {
	return strings.Repeat(fmt.Sprintf("word%d ", seed), size/6)
}

// content is bytes that compress a little.
func content(seed, size int) []byte {
	chance := rand.New(rand.NewPCG(uint64(seed), 0))
	data := make([]byte, size)
	for i := range data {
		data[i] = "abcdefghijklmnopqrstuvwxyz\n\x00\xff012"[chance.IntN(32)]
	}
	return data
}
