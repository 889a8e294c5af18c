package collation

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// contraction finds the longest contraction with which s begins. What combines with
// it may stand further on, behind marks of lower combining classes, which then follow
// it. (UCA, S2.1.)
func (t *table) contraction(s string, first, longest int) (es []element, rest string, ok bool) {
	end := first
	for n, at := 2, first; n <= longest && at < len(s); n++ {
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
		if found, is := t.contract[s[:at]]; is {
			es, end, ok = found, at, true
		}
	}
	if key, skipped, end := t.discontiguous(s, end); key != "" {
		return t.contract[key], skipped + s[end:], true
	}
	return es, s[end:], ok
}

// discontiguous extends s[:end] by marks that are not right behind it. It returns
// the contraction, the marks that were passed over, and where it looked up to; an
// empty key if there is no such contraction.
func (t *table) discontiguous(s string, end int) (key, skipped string, upTo int) {
	var passed strings.Builder
	found := s[:end]
	extended := false
	last := uint8(0)
	at := end
	for at < len(s) {
		_, size := utf8.DecodeRuneInString(s[at:])
		mark := s[at : at+size]
		class := norm.NFD.PropertiesString(mark)
		if class.LeadCCC() == 0 {
			break
		}
		if _, is := t.contract[found+mark]; is && class.LeadCCC() > last {
			found, extended = found+mark, true
		} else {
			passed.WriteString(mark)
			last = class.TrailCCC()
		}
		at += size
	}
	if !extended {
		return "", "", 0
	}
	return found, passed.String(), at
}
