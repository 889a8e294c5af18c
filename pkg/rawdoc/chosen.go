package rawdoc

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// ForSelector returns doc as CouchDB 3.5 shows it to a Mango selector, whichever way it was read:
// `_id` and `_rev`, the body, `_deleted` of a tombstone, and `_attachments` as stubs without what
// att_encoding_info adds. There is no `_revisions`, and nothing that a parameter asked for.
func (s *Scanner) ForSelector(doc []byte) ([]byte, error) { return s.chosenBy(doc, false) }

// ForFunction returns doc as CouchDB 3.5 shows it to a filter function, or to the map function of
// a view that filters: as [Scanner.ForSelector], and with a `_revisions` that has the
// revision itself and none of its ancestors.
func (s *Scanner) ForFunction(doc []byte) ([]byte, error) { return s.chosenBy(doc, true) }

func (s *Scanner) chosenBy(doc []byte, revisions bool) ([]byte, error) {
	var id, rev, atts []byte
	deleted := false
	body := make([]byte, 0, len(doc)+64)
	err := s.walker.each(doc, '{', func() error {
		quoted, err := s.walker.dec.ReadValue()
		if err != nil {
			return err
		}
		start := s.walker.dec.InputOffset() - int64(len(quoted))
		name := string(unquote(quoted))
		value, err := s.walker.value(doc)
		if err != nil {
			return err
		}
		switch name {
		case "_id":
			id = value
		case "_rev":
			rev = value
		case "_deleted":
			deleted = string(value) == "true"
		case "_attachments":
			atts = value
		case "_revisions", "_revs_info", "_local_seq", "_conflicts", "_deleted_conflicts":
		default:
			body = append(body, ',')
			body = append(body, doc[start:s.walker.dec.InputOffset()]...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(doc)+96), '{')
	if id != nil {
		out = append(append(out, `,"_id":`...), id...)
	}
	if rev != nil {
		out = append(append(out, `,"_rev":`...), rev...)
	}
	out = append(out, body...)
	if deleted {
		out = append(out, `,"_deleted":true`...)
	}
	if revisions && rev != nil {
		if out, err = appendOwnRevision(out, rev); err != nil {
			return nil, err
		}
	}
	if atts != nil {
		if out, err = appendStubs(out, atts); err != nil {
			return nil, err
		}
	}
	if len(out) > 1 {
		out = append(out[:1], out[2:]...) // without the first comma
	}
	return append(out, '}'), nil
}

// appendOwnRevision appends `_revisions` of one revision.
func appendOwnRevision(out, rev []byte) ([]byte, error) {
	var text string
	if err := stringMember(&text, []byte("_rev"), rev); err != nil {
		return nil, err
	}
	generation, id, ok := strings.Cut(text, "-")
	start, err := strconv.ParseUint(generation, 10, 63)
	if !ok || err != nil {
		return nil, fmt.Errorf("%w: its revision is %q", ErrNotDocument, text)
	}
	out = appendInt(out, `,"_revisions":{"start":`, int64(start))
	out = append(out, `,"ids":[`...)
	return append(appendString(out, id), "]}"...), nil
}

// appendStubs appends `_attachments` without contents; none, as CouchDB, for an empty one.
func appendStubs(out, raw []byte) ([]byte, error) {
	atts, err := parseAttachments(raw)
	if err != nil {
		return nil, err
	}
	for i, a := range atts {
		if i == 0 {
			out = append(out, `,"_attachments":{`...)
		} else {
			out = append(out, ',')
		}
		if a.Data != nil { // CouchDB gives no length beside it
			a.Length = contentLength(a.Data)
		}
		a.Stub, a.Follows, a.Data, a.Encoding = true, false, nil, ""
		out = append(appendString(out, a.Name), ':')
		out = appendAttachment(out, a)
	}
	if len(atts) > 0 {
		out = append(out, '}')
	}
	return out, nil
}

// contentLength is the length of inline data without its Base64.
func contentLength(data []byte) int64 {
	if bytes.IndexByte(data, '\\') >= 0 {
		data = unquote([]byte(`"` + string(data) + `"`))
	}
	return int64(base64.RawStdEncoding.DecodedLen(len(bytes.TrimRight(data, "="))))
}
