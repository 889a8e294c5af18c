package couch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
)

// IDRevs is a document and some of its revisions.
type IDRevs struct {
	ID   string
	Revs []string
}

// Missing is what a database lacks of a document.
type Missing struct {
	ID   string
	Revs []string
	// PossibleAncestors are leaves of the database that the missing revisions may
	// descend from: their attachments need not be sent. PouchDB gives none.
	PossibleAncestors []string
}

// RevsDiff asks which of the revisions the database lacks. The result is in the order of the
// answer and leaves out documents that lack nothing; empty ids are not asked for, because
// no database can have them.
func (db *DB) RevsDiff(ctx context.Context, revs []IDRevs) ([]Missing, error) {
	r := db.request(http.MethodPost, "_revs_diff")
	r.body = bytesBody(revsDiffBody(revs))
	var missing []Missing
	err := db.call(ctx, r, func(body io.Reader) (err error) {
		missing, err = readMissing(body)
		return err
	})
	return missing, err
}

// revsDiffBody names each document once: in a JSON object the last of several
// members would win.
func revsDiffBody(docs []IDRevs) []byte {
	at := make(map[string]int, len(docs))
	var merged []IDRevs
	for _, d := range docs {
		if d.ID == "" {
			continue
		}
		i, ok := at[d.ID]
		if !ok {
			at[d.ID] = len(merged)
			merged = append(merged, IDRevs{ID: d.ID, Revs: d.Revs[:len(d.Revs):len(d.Revs)]})
			continue
		}
		merged[i].Revs = append(merged[i].Revs, d.Revs...)
	}
	out := []byte{'{'}
	for i, d := range merged {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, d.ID), ':')
		out = appendStrings(out, d.Revs)
	}
	return append(out, '}')
}

func readMissing(body io.Reader) ([]Missing, error) {
	dec := newDecoder(body)
	if err := expectKind(dec, '{'); err != nil {
		return nil, err
	}
	var out []Missing
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		m := Missing{ID: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		var diff struct {
			Missing           []string `json:"missing"`
			PossibleAncestors []string `json:"possible_ancestors"`
		}
		if err := json.Unmarshal(value, &diff); err != nil {
			return nil, err
		}
		m.Revs, m.PossibleAncestors = diff.Missing, diff.PossibleAncestors
		out = append(out, m)
	}
	return out, expectKind(dec, '}')
}

// newDecoder splits JSON as CouchDB writes it: repeated names and invalid UTF-8
// are data that other databases took (invariant 7).
func newDecoder(r io.Reader) *jsontext.Decoder {
	return jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// errShape is wrapped by what is JSON, but not the JSON that was asked for.
var errShape = errors.New("unexpected JSON")

// expectKind reads a token of the given kind.
func expectKind(dec *jsontext.Decoder, kind jsontext.Kind) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != kind {
		return errShape
	}
	return nil
}

func appendString(out []byte, s string) []byte {
	out, _ = jsontext.AppendQuote(out, s) // the only error is invalid UTF-8, which is replaced
	return out
}

func appendStrings(out []byte, list []string) []byte {
	out = append(out, '[')
	for i, s := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendString(out, s)
	}
	return append(out, ']')
}
