package rawdoc

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// ReplaceAttachments returns a copy of doc in which the value of `_attachments`
// is value (a JSON object), put at the end of the document where it has none. A nil value
// removes the member. All other bytes stay as they are (invariant 7).
func ReplaceAttachments(doc, value []byte) ([]byte, error) {
	spans, err := memberSpans(doc)
	if err != nil {
		return nil, err
	}
	var kept []int // indexes into spans
	found := false
	for i, s := range spans {
		found = found || s.attachments
		if !s.attachments || value != nil {
			kept = append(kept, i)
		}
	}
	switch {
	case found:
		return rebuild(doc, spans, kept, value), nil
	case value != nil:
		return insertAttachments(doc, len(spans) == 0, value), nil
	}
	return append([]byte(nil), doc...), nil
}

// SetAttachments returns a copy of doc in which the entries of `_attachments`
// named by atts are rewritten from atts; other entries and all other bytes stay as they are.
// It turns stubs and inline data into `follows` entries for a multipart body:
// Data is written where it is not nil, then Follows, then Stub. It is an error if
// doc has no entry of such a name.
func SetAttachments(doc []byte, atts []Attachment) ([]byte, error) {
	byName := make(map[string]Attachment, len(atts))
	for _, a := range atts {
		byName[a.Name] = a
	}
	raw, err := attachmentsValue(doc)
	if err != nil {
		return nil, err
	}
	out := []byte{'{'}
	seen := make(map[string]bool, len(atts))
	var w walker
	err = w.members(raw, func(name, value []byte) error {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = appendString(out, string(name))
		out = append(out, ':')
		if a, ok := byName[string(name)]; ok {
			seen[string(name)] = true // of a repeated name the last counts, so all are rewritten
			out = appendAttachment(out, a)
			return nil
		}
		out = append(out, value...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for name := range byName {
		if !seen[name] {
			return nil, fmt.Errorf("%w: no attachment %q", ErrNotDocument, name)
		}
	}
	return ReplaceAttachments(doc, append(out, '}'))
}

func attachmentsValue(doc []byte) ([]byte, error) {
	raw := []byte("{}")
	var w walker
	err := w.members(doc, func(name, value []byte) error {
		if string(name) == "_attachments" {
			raw = value
		}
		return nil
	})
	return raw, err
}

// span is where a member stands in a document: its name starts at start, its
// value spans value to end.
type span struct {
	start, value, end int64
	attachments       bool
}

func memberSpans(doc []byte) ([]span, error) {
	var spans []span
	var w walker
	err := w.each(doc, '{', func() error {
		quoted, err := w.dec.ReadValue()
		if err != nil {
			return err
		}
		s := span{
			start:       w.dec.InputOffset() - int64(len(quoted)),
			attachments: string(unquote(quoted)) == "_attachments",
		}
		value, err := w.value(doc)
		if err != nil {
			return err
		}
		s.end = w.dec.InputOffset()
		s.value = s.end - int64(len(value))
		spans = append(spans, s)
		return nil
	})
	return spans, err
}

// insertAttachments puts the member before the brace that closes doc.
func insertAttachments(doc []byte, empty bool, value []byte) []byte {
	end := len(doc)
	for doc[end-1] != '}' {
		end--
	}
	end--
	out := append(make([]byte, 0, len(doc)+len(value)+17), doc[:end]...)
	if !empty {
		out = append(out, ',')
	}
	out = append(out, `"_attachments":`...)
	out = append(out, value...)
	return append(out, doc[end:]...)
}

// rebuild writes the kept members, with value for the attachments. What stands
// behind a member up to the next one (the comma and white space) goes with it where
// another kept member follows, so a removal leaves a valid object.
func rebuild(doc []byte, all []span, kept []int, value []byte) []byte {
	out := append(make([]byte, 0, len(doc)+len(value)), doc[:all[0].start]...)
	for n, i := range kept {
		if n > 0 {
			before := kept[n-1]
			out = append(out, doc[all[before].end:all[before+1].start]...)
		}
		s := all[i]
		if s.attachments {
			out = append(out, doc[s.start:s.value]...)
			out = append(out, value...)
			continue
		}
		out = append(out, doc[s.start:s.end]...)
	}
	return append(out, doc[all[len(all)-1].end:]...)
}

func appendAttachment(out []byte, a Attachment) []byte {
	out = append(out, `{"content_type":`...)
	out = appendString(out, a.ContentType)
	out = appendInt(out, `,"revpos":`, a.RevPos)
	if a.Digest != "" {
		out = append(out, `,"digest":`...)
		out = appendString(out, a.Digest)
	}
	if a.Data != nil {
		out = append(out, `,"data":"`...)
		out = append(out, a.Data...)
		return append(out, `"}`...)
	}
	out = appendInt(out, `,"length":`, a.Length)
	if a.Encoding != "" {
		out = append(out, `,"encoding":`...)
		out = appendString(out, a.Encoding)
		out = appendInt(out, `,"encoded_length":`, a.EncodedLength)
	}
	switch {
	case a.Follows:
		out = append(out, `,"follows":true`...)
	case a.Stub:
		out = append(out, `,"stub":true`...)
	}
	return append(out, '}')
}

func appendInt(out []byte, prefix string, n int64) []byte {
	out = append(out, prefix...)
	return strconv.AppendInt(out, n, 10)
}

func appendString(out []byte, s string) []byte {
	// The only error is invalid UTF-8, which is replaced.
	out, _ = jsontext.AppendQuote(out, s)
	return out
}
