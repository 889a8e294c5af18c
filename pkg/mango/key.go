package mango

import (
	"math"
	"math/big"
	"strconv"

	"millrace/pkg/collation"
)

// Keys put values into classes: values that are equal to CouchDB have equal keys.
// The reverse holds for scalars only; of arrays and objects a key tells the length.

// appendKey appends the key of a value.
func appendKey(dst []byte, v value) []byte {
	switch t := v.(type) {
	case nil:
		return append(dst, 'n')
	case bool:
		if t {
			return append(dst, 't')
		}
		return append(dst, 'f')
	case int64:
		return strconv.AppendInt(append(dst, '#'), t, 10)
	case *big.Int:
		return t.Append(append(dst, '#'), 10)
	case float64:
		return appendFloatKey(append(dst, '#'), t)
	case string:
		return collation.AppendKey(dst, t)
	case array:
		return strconv.AppendInt(append(dst, '['), int64(len(t)), 10)
	case object:
		return strconv.AppendInt(append(dst, '{'), int64(len(t)), 10)
	}
	return dst
}

// appendFloatKey writes a float without a fraction as the integer that it equals.
func appendFloatKey(dst []byte, f float64) []byte {
	if f != math.Trunc(f) || math.IsInf(f, 0) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	if math.Abs(f) < 1<<53 {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	n, _ := big.NewFloat(f).Int(nil)
	return n.Append(dst, 10)
}

// EachKey calls yield with the key of a field's value and, if that is an array, with
// those of its elements. The key is only valid during the call. scratch is memory
// for keys, returned for further use.
func (d Document) EachKey(f Field, scratch []byte, yield func(key []byte)) []byte {
	v, ok := d.find(f)
	if !ok {
		return scratch
	}
	scratch = appendKey(scratch[:0], v)
	yield(scratch)
	if a, ok := v.(array); ok {
		for _, e := range a {
			scratch = appendKey(scratch[:0], e)
			yield(scratch)
		}
	}
	return scratch
}

// Text is the value of a field if it is a string.
func (d Document) Text(f Field) (string, bool) {
	v, _ := d.find(f)
	s, ok := v.(string)
	return s, ok
}

func (d Document) find(f Field) (value, bool) {
	v, found := d.lookup(&f.field)
	return v, found == isThere
}

// Names calls yield with the name of each member of the document.
func (d Document) Names(yield func(name []byte)) {
	for i := range d.members {
		yield(d.members[i].name)
	}
}
