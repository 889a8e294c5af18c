package shop

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
)

// Document is a document with all its leaves.
type Document struct {
	ID string
	// Leaves are the leaf revisions as `_bulk_docs` with new_edits=false takes them,
	// with `_revisions` and inline attachments.
	Leaves [][]byte
	// Kind tells what happened to it.
	Kind Kind
	// Attachments of all leaves, by number and by bytes.
	Attachments, AttachmentBytes int
}

// Kind is what happened to a document.
type Kind int

// The kinds.
const (
	Fresh    Kind = iota // as it was written first
	Edited               // edited once or more
	Deleted              // deleted
	Conflict             // edited in two or three places at once: as many leaves
	Resolved             // was in conflict: one of its two leaves is deleted
	Design               // a design document
)

// meta is what CouchDB knows about a document.
type meta struct {
	ID          string                `json:"_id"`
	Rev         string                `json:"_rev"`
	Deleted     bool                  `json:"_deleted,omitempty"`
	Revisions   revisions             `json:"_revisions"`
	Attachments map[string]attachment `json:"_attachments,omitempty"`
}

type revisions struct {
	Start int      `json:"start"`
	IDs   []string `json:"ids"`
}

type attachment struct {
	ContentType string `json:"content_type"`
	RevPos      int    `json:"revpos"`
	Data        []byte `json:"data"`
}

// body makes what the meta is followed by. The version is how often the document was
// edited, on which strand of its history.
type body func(m meta, i int, v version) any

type version struct{ strand, edits int }

// document makes the leaves of document i.
func (s *Shop) document(i int, id string, f fate, content body) Document {
	d := Document{ID: id, Kind: f.kind}
	for strand, leaf := range f.strands {
		m := meta{ID: id, Revisions: s.history(id, f.fork, strand, leaf.edits+1)}
		m.Rev = fmt.Sprintf("%d-%s", m.Revisions.Start, m.Revisions.IDs[0])
		var doc any
		if leaf.deleted {
			m.Deleted = true
			doc = tombstone(m, s.generator(i, strand+1))
		} else {
			doc = content(m, i, version{strand, leaf.edits})
		}
		d.add(doc)
	}
	return d
}

// add encodes a leaf.
func (d *Document) add(doc any) {
	encoded, err := json.Marshal(doc)
	if err != nil {
		panic(err) // strings, numbers and bytes: nothing that JSON does not know
	}
	d.Leaves = append(d.Leaves, encoded)
	if p, ok := doc.(productDoc); ok {
		for _, a := range p.Attachments {
			d.Attachments++
			d.AttachmentBytes += len(a.Data)
		}
	}
}

// history is the ancestry of a leaf, newest first. Strands share what is at or below
// the fork.
func (s *Shop) history(id string, fork, strand, length int) revisions {
	r := revisions{Start: length, IDs: make([]string, length)}
	for generation := length; generation >= 1; generation-- {
		of := strand
		if generation <= fork {
			of = 0
		}
		r.IDs[length-generation] = hash(s.seed, id, of, generation)
	}
	return r
}

// hash has the form of CouchDB's, an MD5 in hexadecimal.
func hash(seed uint64, id string, strand, generation int) string {
	return fmt.Sprintf("%x", md5.Sum(fmt.Appendf(nil, "%d %s %d %d", seed, id, strand, generation)))
}

// tombstone is what is left of a document: nothing, or who deleted it.
func tombstone(m meta, g generator) any {
	if g.IntN(2) == 0 {
		return m
	}
	return struct {
		meta
		DeletedBy string `json:"deletedBy"`
		Reason    string `json:"reason"`
	}{m, pick(g, staff), pick(g, reasons)}
}
