package ejson

import (
	"bytes"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Values are nil, bool, *big.Int, float64, string, [Array] and [Object].
type (
	// Array is a JSON array.
	Array []any
	// Object is a JSON object in the order it was written. [Parse] keeps the last of members of the same name.
	Object []Pair
	// Pair is one member of an Object.
	Pair struct {
		Key   string
		Value any
	}
)

// Get returns the first value of a key.
func (o Object) Get(key string) (any, bool) {
	for _, p := range o {
		if p.Key == key {
			return p.Value, true
		}
	}
	return nil, false
}

// RangeError says that a number is too large for a float, which is what CouchDB
// makes of numbers with a fraction or an exponent.
type RangeError struct{ Number string }

func (e *RangeError) Error() string { return fmt.Sprintf("number %s is out of range", e.Number) }

// Parse reads one JSON value. Strings must be valid UTF-8. Errors are those of
// jsontext, [ErrTrailing] or a *[RangeError].
func Parse(json []byte) (any, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(json), jsontext.AllowDuplicateNames(true))
	v, err := read(dec)
	if err != nil {
		return nil, err
	}
	if err := atEnd(dec); err != nil {
		return nil, err
	}
	return v, nil
}

func read(dec *jsontext.Decoder) (any, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return tok.Bool(), nil
	case '"':
		return tok.String(), nil
	case '0':
		return number(tok.String())
	case '[':
		return readArray(dec)
	default:
		return readObject(dec)
	}
}

func readArray(dec *jsontext.Decoder) (any, error) {
	a := Array{}
	for dec.PeekKind() != ']' {
		v, err := read(dec)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	_, err := dec.ReadToken()
	return a, err
}

func readObject(dec *jsontext.Decoder) (any, error) {
	o := Object{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		v, err := read(dec)
		if err != nil {
			return nil, err
		}
		o = append(o, Pair{key, v})
	}
	_, err := dec.ReadToken()
	return Object(lastOfEachName(o, func(p Pair) string { return p.Key })), err
}

// number is an integer when it is written as one.
func number(s string) (any, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, &RangeError{s}
		}
		return f, nil
	}
	n, _ := new(big.Int).SetString(s, 10) // the decoder has checked the syntax
	return n, nil
}
