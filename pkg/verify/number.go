package verify

import (
	"bytes"
	"math/big"
	"strconv"
)

// appendNumber appends a form of a JSON number that is the same for numbers of the
// same decimal value, and for no others: sign, digits without zeros at either end,
// and the power of ten. Nothing is rounded: 1e400 and 2^63 are what they are, and 0.1000 is 0.1.
// Servers may write a number otherwise than they got it, but may not change it.
func appendNumber(dst, number []byte) []byte {
	mantissa, exponent := number, []byte(nil)
	if at := bytes.IndexAny(number, "eE"); at >= 0 {
		mantissa, exponent = number[:at], number[at+1:]
	}
	mantissa, negative := bytes.CutPrefix(mantissa, []byte("-"))
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))

	start := len(dst)
	if negative {
		dst = append(dst, '-')
	}
	first := len(dst)
	dst = append(append(dst, whole...), fraction...)
	digits := bytes.TrimLeft(dst[first:], "0")
	dst = append(dst[:first], digits...)
	kept := bytes.TrimRight(dst[first:], "0")
	if len(kept) == 0 {
		return append(dst[:start], '0') // minus zero too
	}
	shift := len(digits) - len(kept) - len(fraction)
	return appendPower(append(dst[:first+len(kept)], 'e'), exponent, int64(shift))
}

// appendPower appends the sum of an exponent as written, which may have any number of digits,
// and a shift.
func appendPower(dst, exponent []byte, shift int64) []byte {
	const fits = 18 // digits with a sign, plus a shift, in 64 bits
	if len(exponent) > fits {
		power, _ := new(big.Int).SetString(string(exponent), 10) // it is digits with a sign
		return power.Add(power, big.NewInt(shift)).Append(dst, 10)
	}
	power, _ := strconv.ParseInt(string(exponent), 10, 64) // none is 0
	return strconv.AppendInt(dst, power+shift, 10)
}
