package mango

import (
	"cmp"
	"math"
	"math/big"
	"strings"

	"millrace/pkg/collation"
)

// An order compares two values: less than zero, zero or more.
type order func(a, b value) int

// rank is the order of types in CouchDB's views and selectors.
func rank(v value) int {
	switch t := v.(type) {
	case nil:
		return 1
	case bool:
		if t {
			return 3
		}
		return 2
	case int64, float64, *big.Int:
		return 4
	case string:
		return 5
	case array:
		return 6
	default:
		return 7
	}
}

// collated is the order of views: null, false, true, numbers, strings, arrays,
// objects, with strings as ICU's root collator has them. Different strings may be
// equal in it. It is couch_ejson_compare:less.
func collated(a, b value) int {
	ra, rb := rank(a), rank(b)
	if ra != rb || ra < 4 {
		return ra - rb
	}
	switch a := a.(type) {
	case string:
		return collation.Compare(a, b.(string))
	case array:
		return compareArrays(a, b.(array), collated)
	case object:
		return compareObjects(a, b.(object), collation.Compare, collated)
	default:
		return compareNumbers(a, b)
	}
}

// erlangRank is the order of types in Erlang. Objects are tuples there, and the
// atoms are ordered by name.
func erlangRank(v value) int {
	switch t := v.(type) {
	case int64, float64, *big.Int:
		return 1
	case bool:
		if t {
			return 4
		}
		return 2
	case nil:
		return 3
	case object:
		return 5
	case array:
		return 6
	default:
		return 7
	}
}

// erlang is Erlang's own order of terms, by which CouchDB compares the field _id
// (mango_json:cmp_raw): strings by bytes.
func erlang(a, b value) int {
	ra, rb := erlangRank(a), erlangRank(b)
	if ra != rb {
		return ra - rb
	}
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case array:
		return compareArrays(a, b.(array), erlang)
	case object:
		return compareObjects(a, b.(object), strings.Compare, erlang)
	case nil, bool:
		return 0
	default:
		return compareNumbers(a, b)
	}
}

func compareArrays(a, b array, less order) int {
	for i := range min(len(a), len(b)) {
		if c := less(a[i], b[i]); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}

func compareObjects(a, b object, names func(a, b string) int, values order) int {
	for i := range min(len(a), len(b)) {
		if c := names(a[i].name, b[i].name); c != 0 {
			return c
		}
		if c := values(a[i].value, b[i].value); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}

// compareNumbers is exact for any size, also between integers and floats.
func compareNumbers(a, b value) int {
	switch a := a.(type) {
	case int64:
		switch b := b.(type) {
		case int64:
			return cmp.Compare(a, b)
		case float64:
			return compareIntFloat(a, b)
		case *big.Int:
			return -b.Sign() // it is beyond int64
		}
	case float64:
		switch b := b.(type) {
		case int64:
			return -compareIntFloat(b, a)
		case float64:
			return cmp.Compare(a, b) // -0.0 equals 0.0
		case *big.Int:
			return -compareBigFloat(b, a)
		}
	case *big.Int:
		switch b := b.(type) {
		case int64:
			return a.Sign()
		case float64:
			return compareBigFloat(a, b)
		case *big.Int:
			return a.Cmp(b)
		}
	}
	return 0
}

func compareIntFloat(i int64, f float64) int {
	const exact = 1 << 53 // integers below it are floats too
	if -exact <= i && i <= exact {
		return cmp.Compare(float64(i), f)
	}
	return compareBigFloat(big.NewInt(i), f)
}

func compareBigFloat(i *big.Int, f float64) int {
	if math.IsInf(f, 0) {
		return -cmp.Compare(f, 0)
	}
	return new(big.Float).SetInt(i).Cmp(big.NewFloat(f)) // SetInt keeps every bit
}

// identical is Erlang's =:=, or == where loose: 1 and 1.0 are then the same.
func identical(a, b value, loose bool) bool {
	switch a := a.(type) {
	case int64, float64, *big.Int:
		if rank(b) != 4 {
			return false
		}
		_, fa := a.(float64)
		_, fb := b.(float64)
		return (loose || fa == fb) && compareNumbers(a, b) == 0
	case array:
		b, ok := b.(array)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !identical(a[i], b[i], loose) {
				return false
			}
		}
		return true
	case object:
		return identicalObjects(a, b, loose)
	default:
		if rank(b) > 5 {
			return false
		}
		return a == b // nil, bool or string
	}
}

func identicalObjects(a object, v value, loose bool) bool {
	b, ok := v.(object)
	if !ok || len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].name != b[i].name || !identical(a[i].value, b[i].value, loose) {
			return false
		}
	}
	return true
}
