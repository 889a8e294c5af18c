package checkpoint

import (
	"bytes"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// parseObject splits a JSON object into its members, in order. Of members of
// the same name the first counts, as in CouchDB.
func parseObject(doc []byte) ([]Member, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(doc), lenient()...)
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
	seen := make(map[string]struct{})
	for dec.PeekKind() != '}' {
		m, err := readMember(dec)
		if err != nil {
			return nil, err
		}
		if _, repeated := seen[m.Name]; !repeated {
			seen[m.Name] = struct{}{}
			members = append(members, m)
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	return members, atEnd(dec)
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
	switch err {
	case io.EOF:
		return nil
	case nil:
		return ErrNotAnObject
	default:
		return err
	}
}

// marshalObject writes fields as one JSON object, in order.
func marshalObject(fields []field) ([]byte, error) {
	var buf bytes.Buffer
	enc := jsontext.NewEncoder(&buf, lenient()...)
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return nil, err
	}
	for _, f := range fields {
		if err := enc.WriteToken(jsontext.String(f.name)); err != nil {
			return nil, err
		}
		if err := json.MarshalEncode(enc, f.value); err != nil {
			return nil, err
		}
	}
	if err := enc.WriteToken(jsontext.EndObject); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
