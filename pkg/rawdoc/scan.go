package rawdoc

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrNotDocument is wrapped by the errors for bytes that are JSON but not a
// document: not an object, or with an underscore member of the wrong type.
var ErrNotDocument = errors.New("not a document")

// Scan returns what doc's underscore members say. The whole of doc is checked to
// be one JSON object and nothing else. Use a [Scanner] to scan many documents.
func Scan(doc []byte) (Meta, error) {
	var s Scanner
	return s.Scan(doc)
}

// Scanner scans documents one after another and keeps its working memory between
// them. The zero value is ready. It is not safe for concurrent use.
type Scanner struct {
	walker walker
}

// Scan is like the function [Scan].
func (s *Scanner) Scan(doc []byte) (Meta, error) {
	var m Meta
	err := s.walker.members(doc, func(name, value []byte) error {
		switch string(name) {
		case "_id":
			return stringMember(&m.ID, name, value)
		case "_rev":
			return stringMember(&m.Rev, name, value)
		case "_deleted":
			m.Deleted = string(value) == "true"
		case "_revisions":
			m.RawRevisions = value
		case "_attachments":
			atts, err := parseAttachments(value)
			m.Attachments = atts
			return err
		}
		return nil
	})
	return m, err
}

// Revisions is the value of `_revisions`: the ancestry of a revision, newest
// first. IDs[i] has generation Start-i.
type Revisions struct {
	Start int64
	IDs   []string
}

// ParseRevisions decodes [Meta.RawRevisions].
func ParseRevisions(raw []byte) (Revisions, error) {
	var r Revisions
	var w, inner walker
	err := w.members(raw, func(name, value []byte) error {
		switch string(name) {
		case "start":
			return intMember(&r.Start, name, value)
		case "ids":
			return inner.elements(value, func(value []byte) error {
				var id string
				if err := stringMember(&id, name, value); err != nil {
					return err
				}
				r.IDs = append(r.IDs, id)
				return nil
			})
		}
		return nil
	})
	return r, err
}

func parseAttachments(raw []byte) ([]Attachment, error) {
	var atts []Attachment
	var w, inner walker
	err := w.members(raw, func(name, value []byte) error {
		a := Attachment{Name: string(name)}
		if err := inner.members(value, func(name, value []byte) error {
			return attachmentMember(&a, name, value)
		}); err != nil {
			return fmt.Errorf("attachment %q: %w", a.Name, err)
		}
		atts = append(atts, a)
		return nil
	})
	return atts, err
}

func attachmentMember(a *Attachment, name, value []byte) error {
	switch string(name) {
	case "content_type":
		return stringMember(&a.ContentType, name, value)
	case "digest":
		return stringMember(&a.Digest, name, value)
	case "encoding":
		return stringMember(&a.Encoding, name, value)
	case "revpos":
		return intMember(&a.RevPos, name, value)
	case "length":
		return lengthMember(&a.Length, name, value)
	case "encoded_length":
		return lengthMember(&a.EncodedLength, name, value)
	case "stub":
		a.Stub = string(value) == "true"
	case "follows":
		a.Follows = string(value) == "true"
	case "data":
		if len(value) < 2 || value[0] != '"' {
			return wrongType(name)
		}
		a.Data = value[1 : len(value)-1]
	}
	return nil
}

func wrongType(name []byte) error {
	return fmt.Errorf("%w: %s is of the wrong type", ErrNotDocument, name)
}

// stringMember sets dst to the string value; null counts as absent.
func stringMember(dst *string, name, value []byte) error {
	if string(value) == "null" {
		*dst = ""
		return nil
	}
	if len(value) == 0 || value[0] != '"' {
		return wrongType(name)
	}
	*dst = string(unquote(value))
	return nil
}

// intMember sets dst to the integer value; null counts as absent.
func intMember(dst *int64, name, value []byte) error {
	if string(value) == "null" {
		*dst = 0
		return nil
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return wrongType(name)
	}
	*dst = n
	return nil
}

// lengthMember is intMember for what cannot be negative. Readers count such lengths down.
func lengthMember(dst *int64, name, value []byte) error {
	if err := intMember(dst, name, value); err != nil {
		return err
	}
	if *dst < 0 {
		return fmt.Errorf("%w: %s is negative", ErrNotDocument, name)
	}
	return nil
}

// unquote returns the text of the JSON string value, aliasing it where it has no
// escapes. Invalid UTF-8 becomes U+FFFD, as in jsontext.
func unquote(value []byte) []byte {
	if plain := value[1 : len(value)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return plain
	}
	// The value was accepted by the decoder; the only error left is invalid
	// UTF-8, for which the replaced text is returned beside the error.
	text, _ := jsontext.AppendUnquote(nil, value)
	return text
}
