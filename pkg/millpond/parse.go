package millpond

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/revtree"
)

// incoming is a document as a client sent it.
type incoming struct {
	id      string
	hasID   bool
	path    revtree.Path // of _rev or _revisions; empty if neither was there
	deleted bool
	body    []byte // the document's own members without braces; a copy
	atts    []incomingAtt
}

// incomingAtt is a member of _attachments.
type incomingAtt struct {
	Name          string         `json:"-"`
	ContentType   string         `json:"content_type"`
	Data          jsontext.Value `json:"data"`
	Stub          bool           `json:"stub"`
	Follows       bool           `json:"follows"`
	RevPos        *int           `json:"revpos"`
	Length        *int64         `json:"length"`
	Encoding      string         `json:"encoding"`
	EncodedLength *int64         `json:"encoded_length"`
	Digest        string         `json:"digest"`

	stored *Attachment // set when the content is there
}

// parser reads documents within the server's limits. Its refusals are those of
// CouchDB's couch_doc, each of which refuses the whole request.
type parser struct {
	compressor
	maxBody, maxAttachment int64
	maxID                  int
}

// doc reads one document. The result keeps no part of text.
func (p parser) doc(text []byte) (*incoming, error) {
	doc := &incoming{}
	var fromRevisions bool
	b := bodyBuilder{text: text}
	err := eachMember(text, mayBeSpecial, func(m member) error {
		if !strings.HasPrefix(m.name, "_") || keptMember(m.name) {
			b.keep(m)
			return nil
		}
		switch m.name {
		case "_id":
			return p.takeID(doc, m.value)
		case "_rev":
			if fromRevisions {
				return nil
			}
			return takeRev(doc, m.value)
		case "_revisions":
			fromRevisions = true
			return takeRevisions(doc, m.value)
		case "_attachments":
			return takeAttachments(doc, m.value)
		}
		return takeOther(doc, m)
	})
	if err == errNotObject {
		return nil, badRequest("Document must be a JSON object")
	}
	if err != nil {
		return nil, err
	}
	doc.body = b.bytes()
	if int64(len(doc.body)+len(`{}`)) > p.maxBody {
		return nil, newError(http.StatusRequestEntityTooLarge, "document_too_large", doc.id)
	}
	return doc, p.decodeInline(doc)
}

// bodyBuilder gathers the members to keep, as few copies as there are gaps.
type bodyBuilder struct {
	text  []byte
	spans [][2]int
}

func (b *bodyBuilder) keep(m member) {
	if last := len(b.spans) - 1; last >= 0 && onlyComma(b.text[b.spans[last][1]:m.start]) {
		b.spans[last][1] = m.end
		return
	}
	b.spans = append(b.spans, [2]int{m.start, m.end})
}

// onlyComma says whether nothing but a comma and white space stands between.
func onlyComma(between []byte) bool {
	for _, c := range between {
		switch c {
		case ',', ' ', '\t', '\n', '\r':
		default:
			return false
		}
	}
	return true
}

// bytes is the kept members joined, in memory of their own exact size.
func (b *bodyBuilder) bytes() []byte {
	size := max(0, len(b.spans)-1)
	for _, s := range b.spans {
		size += s[1] - s[0]
	}
	if size == 0 {
		return nil
	}
	out := make([]byte, 0, size)
	for i, s := range b.spans {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, b.text[s[0]:s[1]]...)
	}
	return out
}

// keptMember lists the special members that CouchDB stores with the body.
func keptMember(name string) bool {
	switch name {
	case "_access", "_replication_state", "_replication_state_time",
		"_replication_state_reason", "_replication_id", "_replication_stats":
		return true
	}
	return false
}

func (p parser) takeID(doc *incoming, v jsontext.Value) error {
	id, ok := stringValue(v)
	if !ok {
		return illegalID("Document id must be a string")
	}
	doc.id, doc.hasID = id, true
	return p.checkID(id)
}

// checkID is CouchDB's rule for document ids.
func (p parser) checkID(id string) error {
	switch {
	case id == "":
		return illegalID("Document id must not be empty")
	case id == "_design/", id == "_local/":
		return illegalID("Illegal document id `" + id + "`")
	case p.maxID > 0 && len(id) > p.maxID:
		return illegalID("Document id is too long")
	case !utf8.ValidString(id):
		return illegalID("Document id must be valid UTF-8")
	case strings.HasPrefix(id, "_") && !strings.HasPrefix(id, "_design/") && !strings.HasPrefix(id, "_local/"):
		return illegalID("Only reserved document ids may start with underscore.")
	}
	return nil
}

func takeRev(doc *incoming, v jsontext.Value) error {
	text, ok := stringValue(v)
	if !ok {
		return errBadRev
	}
	rev, err := revtree.Parse(text)
	if err != nil {
		return errBadRev
	}
	doc.path = revtree.Path{Start: rev.Pos, IDs: []string{rev.Hash}}
	return nil
}

func takeRevisions(doc *incoming, v jsontext.Value) error {
	if v.Kind() != '{' {
		return docValidation("Bad special document member: _revisions")
	}
	var raw struct {
		Start jsontext.Value `json:"start"`
		IDs   jsontext.Value `json:"ids"`
	}
	if err := decode(v, &raw); err != nil {
		return err
	}
	start, err := strconv.Atoi(string(raw.Start))
	if err != nil {
		return docValidation("_revisions.start isn't an integer.")
	}
	if raw.IDs.Kind() != '[' {
		return docValidation("_revisions.ids isn't a array.")
	}
	doc.path = revtree.Path{Start: start}
	return eachElement(raw.IDs, func(v jsontext.Value) error {
		text, ok := stringValue(v)
		if !ok {
			return docValidation("RevId isn't a string")
		}
		hash, err := revtree.ParseHash(text)
		if err != nil {
			return docValidation("RevId isn't a valid hexadecimal")
		}
		doc.path.IDs = append(doc.path.IDs, hash)
		return nil
	})
}

// takeOther handles _deleted and the members that CouchDB ignores.
func takeOther(doc *incoming, m member) error {
	switch {
	case m.name == "_deleted" && (m.value.Kind() == 't' || m.value.Kind() == 'f'):
		doc.deleted = m.value.Kind() == 't'
		return nil
	case m.name == "_revs_info", m.name == "_local_seq", m.name == "_conflicts", m.name == "_deleted_conflicts":
		return nil
	}
	return docValidation("Bad special document member: " + m.name)
}

func takeAttachments(doc *incoming, v jsontext.Value) error {
	if v.Kind() != '{' {
		return docValidation("Bad special document member: _attachments")
	}
	doc.atts = nil
	return eachMember(v, all, func(m member) error {
		att := incomingAtt{ContentType: "application/octet-stream"} // if it has none; an empty one is kept
		if m.value.Kind() != '{' || json.Unmarshal(m.value, &att, scanOptions) != nil {
			return badRequest("Invalid attachment data for " + m.name)
		}
		att.Name = m.name
		if err := checkAttachmentName(att.Name); err != nil {
			return err
		}
		for _, other := range doc.atts {
			if other.Name == att.Name {
				return badRequest("Duplicate attachments")
			}
		}
		doc.atts = append(doc.atts, att)
		return nil
	})
}

// checkAttachmentName is CouchDB's rule for attachment names.
func checkAttachmentName(name string) error {
	if strings.HasPrefix(name, "_") {
		return badRequest("Attachment name '" + name + "' starts with prohibited character '_'")
	}
	if !utf8.ValidString(name) {
		return badRequest("Attachment name is not UTF-8 encoded")
	}
	return nil
}

// decodeInline reads the contents given as base64. As in CouchDB an "encoding"
// beside inline data means nothing, nor does a digest.
func (p parser) decodeInline(doc *incoming) error {
	for i := range doc.atts {
		att := &doc.atts[i]
		if att.Stub || att.Follows {
			continue
		}
		text, ok := stringValue(att.Data)
		data, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			return badRequest("Invalid attachment data for " + att.Name)
		}
		if p.maxAttachment > 0 && int64(len(data)) > p.maxAttachment {
			return newError(http.StatusRequestEntityTooLarge, "attachment_too_large", att.Name)
		}
		att.stored = p.attachment(att.Name, att.ContentType, "", data, int64(len(data)))
		att.Data = nil
		if att.RevPos != nil {
			att.stored.RevPos = *att.RevPos
		}
	}
	return nil
}
