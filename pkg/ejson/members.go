// Package ejson reads JSON the way CouchDB's Erlang code holds it: objects are
// lists of pairs in the order they were written, 1 and 1.0 are different
// values, and integers have no limit. It writes such values in Erlang's
// external term format, whose MD5 is a replication id.
package ejson

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// Member is one name of a JSON object, with its value as it was written.
type Member struct {
	Name  string
	Value jsontext.Value
}

// ErrNotAnObject is returned for JSON that is something else than an object.
var ErrNotAnObject = errors.New("not a JSON object")

// ErrTrailing is returned when something follows the JSON value.
var ErrTrailing = errors.New("more than one JSON value")

// Members splits a JSON object, in order. Of members of the same name only the
// last is returned, which is the one that CouchDB keeps (dedupe_keys). Invalid UTF-8 is
// accepted and replaced in names.
func Members(object []byte) ([]Member, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(object), Lenient()...)
	if dec.PeekKind() != '{' {
		if _, err := dec.ReadValue(); err != nil {
			return nil, err
		}
		return nil, ErrNotAnObject
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	var members []Member
	for dec.PeekKind() != '}' {
		m, err := readMember(dec)
		if err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	return lastOfEachName(members, func(m Member) string { return m.Name }), atEnd(dec)
}

// lastOfEachName drops members whose name comes again.
func lastOfEachName[M any](members []M, name func(M) string) []M {
	last := make(map[string]int, len(members))
	for i, m := range members {
		last[name(m)] = i
	}
	if len(last) == len(members) {
		return members
	}
	kept := members[:0]
	for i, m := range members {
		if last[name(m)] == i {
			kept = append(kept, m)
		}
	}
	return kept
}

// Lenient are the options for reading what other programs wrote: repeated names
// and invalid UTF-8 are no errors.
func Lenient() []jsontext.Options {
	return []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
}

func readMember(dec *jsontext.Decoder) (Member, error) {
	name, err := dec.ReadToken()
	if err != nil {
		return Member{}, err
	}
	m := Member{Name: name.String()} // before the next read makes it invalid
	v, err := dec.ReadValue()
	if err != nil {
		return Member{}, err
	}
	m.Value = v.Clone()
	return m, nil
}

func atEnd(dec *jsontext.Decoder) error {
	_, err := dec.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return ErrTrailing
	default:
		return err
	}
}
