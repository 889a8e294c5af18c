package ejson

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
)

// Terms that JSON does not have.
type (
	// Atom is an Erlang atom of Latin-1 characters, fewer than 256 of them.
	Atom string
	// CharList is an Erlang string: a list of the bytes.
	CharList string
	// Tuple has fewer than 256 elements.
	Tuple []any
)

// Tags of the external term format, from the ERTS user's guide.
const (
	version      = 131
	newFloat     = 70
	smallInteger = 97
	integer      = 98
	atom         = 100
	smallTuple   = 104
	nilTag       = 106
	stringTag    = 107
	list         = 108
	binaryTag    = 109
	smallBig     = 110
	largeBig     = 111
)

// Marshal writes a term as term_to_binary(T, [{minor_version, 1}]) does, byte
// for byte. Terms are the values of [Parse], where an object becomes the tuple
// {[{Key, Value}, ...]}, and [Atom], [CharList] and [Tuple]. It panics on
// anything else.
func Marshal(term any) []byte {
	return appendTerm([]byte{version}, term)
}

func appendTerm(b []byte, term any) []byte {
	switch t := term.(type) {
	case nil:
		return appendAtom(b, "null")
	case bool:
		return appendAtom(b, Atom(fmt.Sprint(t)))
	case Atom:
		return appendAtom(b, t)
	case *big.Int:
		return appendInt(b, t)
	case int:
		return appendInt(b, big.NewInt(int64(t)))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, newFloat), math.Float64bits(t))
	case string:
		return append(appendLen32(b, binaryTag, len(t)), t...)
	case CharList:
		return appendBytes(b, []byte(t))
	case Array:
		return appendArray(b, t)
	case Object:
		return appendObject(b, t)
	case Tuple:
		return appendTuple(b, t)
	default:
		panic(fmt.Sprintf("ejson: no Erlang term for %T", term))
	}
}

func appendLen32(b []byte, tag byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(b, tag), uint32(n))
}

func appendAtom(b []byte, a Atom) []byte {
	b = binary.BigEndian.AppendUint16(append(b, atom), uint16(len(a)))
	return append(b, a...)
}

// appendInt uses the shortest of four forms: a byte, 32 bits, or sign and
// magnitude with a length of one byte or of four.
func appendInt(b []byte, n *big.Int) []byte {
	if n.IsInt64() {
		switch v := n.Int64(); {
		case v >= 0 && v <= math.MaxUint8:
			return append(b, smallInteger, byte(v))
		case v >= math.MinInt32 && v <= math.MaxInt32:
			return binary.BigEndian.AppendUint32(append(b, integer), uint32(v))
		}
	}
	size := (n.BitLen() + 7) / 8
	if size <= math.MaxUint8 {
		b = append(b, smallBig, byte(size))
	} else {
		b = appendLen32(b, largeBig, size)
	}
	sign := byte(0)
	if n.Sign() < 0 {
		sign = 1
	}
	b = append(b, sign)
	magnitude := n.Bytes()
	for i := range magnitude { // least significant first
		b = append(b, magnitude[len(magnitude)-1-i])
	}
	return b
}

// appendArray writes a list; Erlang writes one that holds nothing but bytes as
// a string, whatever it was meant to be.
func appendArray(b []byte, a Array) []byte {
	if bytes, ok := asBytes(a); ok {
		return appendBytes(b, bytes)
	}
	b = appendLen32(b, list, len(a))
	for _, v := range a {
		b = appendTerm(b, v)
	}
	return append(b, nilTag)
}

func asBytes(a Array) ([]byte, bool) {
	bytes := make([]byte, len(a))
	for i, v := range a {
		n, ok := v.(*big.Int)
		if !ok || !n.IsInt64() || n.Int64() < 0 || n.Int64() > math.MaxUint8 {
			return nil, false
		}
		bytes[i] = byte(n.Int64())
	}
	return bytes, true
}

func appendBytes(b, s []byte) []byte {
	switch {
	case len(s) == 0:
		return append(b, nilTag)
	case len(s) <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, stringTag), uint16(len(s)))
		return append(b, s...)
	}
	b = appendLen32(b, list, len(s))
	for _, c := range s {
		b = append(b, smallInteger, c)
	}
	return append(b, nilTag)
}

func appendObject(b []byte, o Object) []byte {
	pairs := make(Array, len(o))
	for i, p := range o {
		pairs[i] = Tuple{p.Key, p.Value}
	}
	return appendTuple(b, Tuple{pairs})
}

func appendTuple(b []byte, t Tuple) []byte {
	b = append(b, smallTuple, byte(len(t)))
	for _, v := range t {
		b = appendTerm(b, v)
	}
	return b
}
