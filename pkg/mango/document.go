package mango

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrNotDocument is returned by [Decode] for JSON that is no object.
var ErrNotDocument = errors.New("a document must be a JSON object")

// Document is a revision as CouchDB shows it to the filter of a feed: with _id,
// _rev, the body, _deleted: true if it is, and _attachments as stubs. It is not
// safe for concurrent use: what selectors look at is decoded when the first of them
// does, and kept.
type Document struct{ *document }

type document struct {
	members []member // _id, _rev, the body, _deleted, _attachments
	whole   object   // all members, where a selector is about the document itself
}

type member struct {
	name    []byte
	raw     jsontext.Value
	value   value
	decoded bool
}

// Decode reads the JSON of a revision: from _bulk_get or open_revs, with any of their
// options, from include_docs, or as it is written by a client. What a selector sees
// does not depend on which: members that describe the reading (_revisions,
// _revs_info, _conflicts, ...) are not there, attachments are stubs without their
// encoding, also if the body holds their data, and a _deleted that is not true is
// missing.
//
// The document refers to body, which must not change while it is used. Decode costs
// one pass over the body, without decoding values. Errors are [ErrNotDocument] and
// those of jsontext.
func Decode(body []byte) (Document, error) {
	scan := scanners.Get().(*scanner)
	defer scanners.Put(scan)
	members, err := scan.members(body)
	if err != nil {
		return Document{}, fmt.Errorf("decode a document: %w", err)
	}
	return Document{&document{members: members}}, nil
}

// scanners keep the buffers of their decoders.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

type scanner struct{ dec jsontext.Decoder }

func (s *scanner) members(body []byte) ([]member, error) {
	s.dec.Reset(bytes.NewBuffer(body), decodeOptions...)
	if s.dec.PeekKind() != '{' {
		if _, err := s.dec.ReadValue(); err != nil {
			return nil, err
		}
		return nil, ErrNotDocument
	}
	_, _ = s.dec.ReadToken()
	members := make([]member, 0, 16)
	for s.dec.PeekKind() == '"' {
		name, err := s.dec.ReadValue()
		if err != nil {
			return nil, err
		}
		m := member{name: nameBytes(name)}
		if m.raw, err = s.dec.ReadValue(); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return nil, err
	}
	return arrange(members), nil
}

func nameBytes(quoted jsontext.Value) []byte {
	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return []byte(unquote(quoted))
}

// arrange puts the members into the order of couch_doc:to_json_obj and drops those
// that a filter does not see.
func arrange(members []member) []member {
	var meta struct{ id, rev, deleted, attachments *member }
	kept := make([]member, 2, len(members)+2) // two places for _id and _rev
	for i := range members {
		m := &members[i]
		if len(m.name) > 0 && m.name[0] == '_' {
			switch string(m.name) {
			case "_id":
				meta.id = m
				continue
			case "_rev":
				meta.rev = m
				continue
			case "_deleted":
				meta.deleted = m
				continue
			case "_attachments":
				meta.attachments = m
				continue
			case "_revisions", "_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq":
				continue
			}
		}
		kept = append(kept, *m)
	}
	front := 2
	for _, m := range []*member{meta.rev, meta.id} {
		if m != nil {
			front--
			kept[front] = *m
		}
	}
	kept = lastMembers(kept[front:])
	if d := meta.deleted; d != nil && d.raw.Kind() == 't' {
		kept = append(kept, *d)
	}
	if a := meta.attachments; a != nil {
		kept = append(kept, *a)
	}
	return kept
}

// lastMembers drops members whose name comes again.
func lastMembers(members []member) []member {
	if distinct(members) {
		return members
	}
	last := make(map[string]int, len(members))
	for i := range members {
		last[string(members[i].name)] = i
	}
	kept := make([]member, 0, len(last))
	for i := range members {
		if last[string(members[i].name)] == i {
			kept = append(kept, members[i])
		}
	}
	return kept
}

// distinct is quick for documents with few members, which most are.
func distinct(members []member) bool {
	if len(members) > 32 {
		return false // to be looked at with a map
	}
	for i := range members {
		for j := range i {
			if bytes.Equal(members[i].name, members[j].name) {
				return false
			}
		}
	}
	return true
}

func (m *member) decode() value {
	if !m.decoded {
		if string(m.name) == "_attachments" {
			m.value = stubs(decodeValue(m.raw))
		} else {
			m.value = decodeValue(m.raw)
		}
		m.decoded = true
	}
	return m.value
}

// lookup finds a field of the document.
func (d *document) lookup(f *field) (value, found) {
	for i := range d.members {
		if m := &d.members[i]; string(m.name) == f.path[0] {
			return f.in(m.decode(), 1)
		}
	}
	return nil, notFound
}

// object is the document as a whole.
func (d *document) object() object {
	if d.whole == nil {
		d.whole = make(object, len(d.members))
		for i := range d.members {
			m := &d.members[i]
			d.whole[i] = pair{string(m.name), m.decode()}
		}
	}
	return d.whole
}

// match evaluates a condition without decoding what it does not look at.
func (d *document) match(c condition, why *string) verdict {
	switch c := c.(type) {
	case allOf:
		for _, c := range c {
			if r := d.match(c, why); r != yes {
				return r
			}
		}
		return yes
	case anyOf:
		for _, c := range c {
			if r := d.match(c, why); r != no {
				return r
			}
		}
		return truth(len(c) == 0)
	case negation:
		return d.match(c.condition, why).not()
	case fieldIs:
		return d.matchField(c, why)
	case everything:
		return yes
	default:
		return c.match(d.object(), collated, why)
	}
}

func (d *document) matchField(f fieldIs, why *string) verdict {
	if f.path == nil {
		return f.match(nil, nil, why)
	}
	v, found := d.lookup(&f.field)
	return f.decide(v, found, collated, why)
}
