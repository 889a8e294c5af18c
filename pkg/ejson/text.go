package ejson

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Text writes a term as Erlang's io_lib does for ~w: strings as lists of bytes,
// floats in the shortest form that reads back. CouchDB's reasons quote terms so.
// It panics where [Marshal] does.
func Text(term any) string { return string(appendText(nil, term)) }

func appendText(b []byte, term any) []byte {
	switch t := term.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, t)
	case *big.Int:
		return t.Append(b, 10)
	case float64:
		return append(b, floatText(t)...)
	case string:
		return append(appendBytesText(append(b, "<<"...), t), ">>"...)
	case Array:
		return append(appendListText(append(b, '['), t), ']')
	case Object:
		return appendObjectText(b, t)
	default:
		panic(fmt.Sprintf("ejson: no text for %T", term))
	}
}

func appendBytesText(b []byte, s string) []byte {
	for i := range len(s) {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(s[i]), 10)
	}
	return b
}

func appendListText(b []byte, a Array) []byte {
	for i, v := range a {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, v)
	}
	return b
}

func appendObjectText(b []byte, o Object) []byte {
	b = append(b, "{["...)
	for i, p := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, '{'), p.Key)
		b = append(appendText(append(b, ','), p.Value), '}')
	}
	return append(b, "]}"...)
}

// floatText is float_to_list(F, [short]): digits and a point, or an exponent where
// that is shorter, and always an exponent from 2^53 on.
func floatText(f float64) string {
	if f == 0 {
		if math.Signbit(f) {
			return "-0.0"
		}
		return "0.0"
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(math.Abs(f), 'e', -1, 64), "e")
	exp, _ := strconv.Atoi(exponent) // FormatFloat wrote it
	text := placePoint(strings.Replace(mantissa, ".", "", 1), exp, math.Abs(f) >= 1<<53)
	if f < 0 {
		return "-" + text
	}
	return text
}

// placePoint writes 0.DIGITS * 10^(exp+1).
func placePoint(digits string, exp int, large bool) string {
	place, n := exp+1, len(digits)
	cost := len(strconv.Itoa(exp)) + 2 // of an exponent
	if n == 1 {
		cost++
	}
	switch {
	case large:
	case place == 0:
		return "0." + digits
	case place < 0 && 2-place <= cost:
		return "0." + strings.Repeat("0", -place) + digits
	case place > 0 && place < n:
		return digits[:place] + "." + digits[place:]
	case place >= n && place-n+2 <= cost:
		return digits + strings.Repeat("0", place-n) + ".0"
	}
	if n == 1 {
		digits += "0"
	}
	return digits[:1] + "." + digits[1:] + "e" + strconv.Itoa(exp)
}
