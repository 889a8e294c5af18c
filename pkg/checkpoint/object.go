package checkpoint

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/ejson"
)

// field is a member of a document and its value, or the variable that holds it.
type field struct {
	name  string
	value any
}

// marshalObject writes fields as one JSON object, in order.
func marshalObject(fields []field) ([]byte, error) {
	var buf bytes.Buffer
	enc := jsontext.NewEncoder(&buf, ejson.Lenient()...)
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

// into decodes v to where dst points, and says whether v has that type.
func into(v jsontext.Value, dst any) bool {
	return json.Unmarshal(v, dst, ejson.Lenient()...) == nil
}
