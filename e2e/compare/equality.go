package compare

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Numbers is what must be the same of two numbers.
type Numbers int

const (
	// Text: every character.
	Text Numbers = iota
	// Value: whole numbers exactly, others as float64.
	Value
	// Float64: what is left in a float64, of whole numbers too.
	Float64
)

// compareValues returns whether two values are the same, and if not where they
// first differ (a path from the value, empty for itself) and what stands there.
func compareValues(a, b value, o Options) (at, x, y string, same bool) {
	switch {
	case a.kind != b.kind:
		return "", a.String(), b.String(), false
	case a.kind == '{':
		return compareObjects(a, b, o)
	case a.kind == '[':
		return compareArrays(a, b, o)
	case a.kind == '0':
		same = sameNumber(a.text, b.text, o.Numbers)
	default:
		same = a.text == b.text
	}
	return "", a.String(), b.String(), same
}

func compareArrays(a, b value, o Options) (at, x, y string, same bool) {
	for i := range min(len(a.items), len(b.items)) {
		if at, x, y, same := compareValues(a.items[i], b.items[i], o); !same {
			return fmt.Sprintf("[%d]%s", i, at), x, y, false
		}
	}
	return "", a.String(), b.String(), len(a.items) == len(b.items)
}

func compareObjects(a, b value, o Options) (at, x, y string, same bool) {
	membersA, membersB := a.members, b.members
	if o.AnyKeyOrder {
		membersA, membersB = sorted(membersA), sorted(membersB)
	}
	for i := range min(len(membersA), len(membersB)) {
		ma, mb := membersA[i], membersB[i]
		if ma.name != mb.name {
			return fmt.Sprintf("(key %d)", i), strconv.Quote(ma.name), strconv.Quote(mb.name), false
		}
		if at, x, y, same := compareValues(ma.value, mb.value, o); !same {
			return "." + ma.name + at, x, y, false
		}
	}
	return "", a.String(), b.String(), len(membersA) == len(membersB)
}

// sorted is the members by name; those of the same name keep their order, because
// the last of them is the one that counts.
func sorted(members []member) []member {
	members = slices.Clone(members)
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return members
}

func sameNumber(a, b string, n Numbers) bool {
	if a == b {
		return true
	}
	if n == Text {
		return false
	}
	if n == Value {
		whole, isWhole := new(big.Int).SetString(a, 10)
		other, otherIsWhole := new(big.Int).SetString(b, 10)
		if isWhole && otherIsWhole {
			return whole.Cmp(other) == 0
		}
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}
