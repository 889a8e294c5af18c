package mango

import (
	"errors"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// How long one regular expression may look at one value. CouchDB counts steps (ten
// million) and then takes the value not to match; here the time is limited and what
// exceeds it is an error of the selector, so that no document is left out because a
// machine was busy. The second try is for a process that was not running for most of
// the first.
const firstTry, secondTry = 250 * time.Millisecond, time.Second

// maxStack bounds the memory of a match, in slots of 8 bytes.
const maxStack = 1 << 20

// regex matches bytes as CouchDB does, which leaves Erlang's PCRE in its Latin-1
// mode: "é" is two characters.
type regex struct{ first, second *regexp2.Regexp }

func parseRegex(pattern string, timeout time.Duration) (*regexp2.Regexp, error) {
	translated, err := translate(latin1(pattern))
	if err != nil {
		return nil, err
	}
	re, err := regexp2.Compile(translated, regexp2.OptionMaintainCaptureOrder(), regexp2.OptionMaxBacktrackingStackSize(maxStack))
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = timeout
	return re, nil
}

func isRegex(pattern string) bool {
	_, err := parseRegex(pattern, firstTry)
	return err == nil
}

func compileRegex(pattern string) condition {
	first, err := parseRegex(pattern, firstTry)
	second, err2 := parseRegex(pattern, secondTry)
	if err != nil || err2 != nil { // the normaliser has tried it
		return broken("Bad argument for operator $regex")
	}
	return regex{first, second}
}

func (r regex) match(v value, _ order, why *string) verdict {
	text, ok := v.(string)
	if !ok {
		return no
	}
	text = latin1(text)
	matched, err := r.first.MatchString(text)
	if err != nil && !errors.Is(err, regexp2.ErrBacktrackingStackLimit) {
		matched, err = r.second.MatchString(text)
	}
	if err != nil {
		*why = "$regex takes too long"
		return crash
	}
	return truth(matched)
}

// latin1 makes a character of each byte.
func latin1(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return latin1Runes(s)
		}
	}
	return s
}

func latin1Runes(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}
