package couch

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Seq is an update sequence: an opaque JSON value. CouchDB 1 and PouchDB use
// integers, CouchDB 2 and 3 strings, BigCouch arrays of a number and a string. The
// zero value is the sequence 0, the beginning of a database. Seqs are comparable with ==, which
// compares their bytes; they have no order.
type Seq struct {
	raw string // JSON, or empty for 0
}

// StringSeq is the sequence that the JSON string s stands for, such as "now".
func StringSeq(s string) Seq {
	raw, _ := jsontext.AppendQuote(nil, s) // the only error is invalid UTF-8, which is replaced
	return Seq{raw: string(raw)}
}

// ParseSeq is the sequence that the JSON value raw stands for. No bytes are the
// beginning. The error says that raw is not JSON.
func ParseSeq(raw []byte) (Seq, error) {
	var s Seq
	if len(raw) == 0 {
		return s, nil
	}
	err := s.UnmarshalJSON(raw)
	return s, err
}

// NullSeq is the sequence of a row that has none, as rows do between the ones that
// seq_interval chooses.
func NullSeq() Seq { return Seq{raw: "null"} }

// IsNull reports whether the sequence is null: the row has none.
func (s Seq) IsNull() bool { return s.raw == "null" }

// IsZero reports whether the sequence is 0, the beginning.
func (s Seq) IsZero() bool { return s.raw == "" }

// String is the sequence as CouchDB's replicator writes it into `since`: strings
// as they are, other values as JSON.
func (s Seq) String() string {
	switch {
	case s.raw == "":
		return "0"
	case s.raw[0] == '"':
		text, _ := jsontext.AppendUnquote(nil, s.raw)
		return string(text)
	}
	return s.raw
}

// MarshalJSON returns the value as it was received.
func (s Seq) MarshalJSON() ([]byte, error) {
	if s.raw == "" {
		return []byte("0"), nil
	}
	return []byte(s.raw), nil
}

// UnmarshalJSON keeps the value as it is; any JSON is a sequence.
func (s *Seq) UnmarshalJSON(b []byte) error {
	if !json.Valid(b) {
		return errors.New("couch: a sequence that is not JSON")
	}
	*s = seqOf(b)
	return nil
}

// seqOf is the sequence of the valid JSON value b.
func seqOf(b []byte) Seq {
	raw := strings.TrimSpace(string(b))
	if raw == "0" {
		raw = ""
	}
	return Seq{raw: raw}
}
