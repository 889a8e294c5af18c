package mango

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/ejson"
)

// A value is nil, bool, int64, *big.Int (only beyond int64), float64, string,
// array or object.
type value = any

type (
	array  []value
	object []pair // in the order of the document; names occur once
	pair   struct {
		name  string
		value value
	}
)

func (o object) get(name string) (value, bool) {
	for i := range o {
		if o[i].name == name {
			return o[i].value, true
		}
	}
	return nil, false
}

// constant makes a value of what stands in a selector.
func constant(v any) value {
	switch t := v.(type) {
	case *big.Int:
		if t.IsInt64() {
			return t.Int64()
		}
		return t
	case ejson.Array:
		a := make(array, len(t))
		for i, e := range t {
			a[i] = constant(e)
		}
		return a
	case ejson.Object:
		o := make(object, 0, len(t))
		for _, p := range t {
			o = append(o, pair{p.Key, constant(p.Value)})
		}
		return o
	default:
		return v
	}
}

// decodeOptions accept what CouchDB accepts, and bodies of other servers.
var decodeOptions = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// decodeValue reads JSON that a decoder has checked.
func decodeValue(raw jsontext.Value) value {
	switch raw.Kind() {
	case '[', '{':
		dec := jsontext.NewDecoder(bytes.NewBuffer(raw), decodeOptions...)
		return decodeNext(dec)
	default:
		return decodeScalar(raw)
	}
}

func decodeScalar(raw jsontext.Value) value {
	switch raw.Kind() {
	case 't':
		return true
	case 'f':
		return false
	case '"':
		return unquote(raw)
	case '0':
		return decodeNumber(string(raw))
	}
	return nil
}

func decodeNext(dec *jsontext.Decoder) value {
	switch dec.PeekKind() {
	case '[':
		return decodeArray(dec)
	case '{':
		return decodeObject(dec)
	default:
		raw, _ := dec.ReadValue() // checked before
		return decodeScalar(raw)
	}
}

func decodeArray(dec *jsontext.Decoder) value {
	a := array{}
	_, _ = dec.ReadToken()
	for dec.PeekKind() > 0 && dec.PeekKind() != ']' {
		a = append(a, decodeNext(dec))
	}
	_, _ = dec.ReadToken()
	return a
}

func decodeObject(dec *jsontext.Decoder) value {
	o := object{}
	_, _ = dec.ReadToken()
	for dec.PeekKind() > 0 && dec.PeekKind() != '}' {
		raw, _ := dec.ReadValue()
		name := unquote(raw)
		o = append(o, pair{name, decodeNext(dec)})
	}
	_, _ = dec.ReadToken()
	return o.lastOfEachName()
}

// lastOfEachName drops members whose name comes again, as CouchDB does when it
// reads JSON (dedupe_keys).
func (o object) lastOfEachName() object {
	if len(o) < 2 {
		return o
	}
	seen := make(map[string]struct{}, len(o))
	for i := range o {
		seen[o[i].name] = struct{}{}
	}
	if len(seen) == len(o) {
		return o
	}
	kept := make(object, 0, len(seen))
	for i := range o {
		if _, again := o[i+1:].get(o[i].name); !again {
			kept = append(kept, o[i])
		}
	}
	return kept
}

func unquote(raw jsontext.Value) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		if utf8.Valid(inner) {
			return string(inner)
		}
		return strings.ToValidUTF8(string(inner), "\ufffd")
	}
	text, _ := jsontext.AppendUnquote(nil, raw) // an error says only that something was replaced
	return string(text)
}

// decodeNumber reads a number as CouchDB holds it: an integer of any size where it
// is written as one, a float otherwise. A float out of range, which CouchDB refuses,
// is infinite.
func decodeNumber(text string) value {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if strings.ContainsAny(text, ".eE") {
		f, _ := strconv.ParseFloat(text, 64)
		return f
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return math.NaN() // no JSON number: cannot be, for the decoder has checked it
	}
	return n
}
