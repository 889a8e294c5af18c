package mango

import (
	"errors"
	"testing"
)

// What PCRE has and Go's library has not is refused, not taken for something else.
func TestPatternsWithoutCounterpart(t *testing.T) {
	for _, pattern := range []string{
		`(a(?1)?)`, `(?R)?a`, `(?P<n>a)(?P>n)`, `(?<n>a)(?&n)`, `(a)\\g<1>`, `(*UTF8)a`, `(a)(?-1)`, `(?+1)(a)`, `a(?C1)b`,
		`(?|(a)|(b))\\1`,
	} {
		_, err := Parse([]byte(`{"a":{"$regex":"` + pattern + `"}}`))
		var refused *Error
		if !errors.As(err, &refused) || refused.Name != "bad_arg" {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	for _, pattern := range []string{`(?|a|b)c`, `(?|(a)|(b))c`} {
		if got, err := matches(t, `{"a":{"$regex":"^`+pattern+`$"}}`, `{"a":"bc"}`); !got || err != nil {
			t.Errorf("%s: %v, %v", pattern, got, err)
		}
	}
}

// A hostile pattern neither hangs nor decides: it is an error of its selector.
func TestPatternThatTakesTooLong(t *testing.T) {
	_, err := matches(t, `{"a":{"$regex":"^(a|aa|a?a?)*(a|aa)*(aa|a)*b$"}}`, `{"a":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"}`)
	var evaluation *EvaluationError
	if !errors.As(err, &evaluation) || evaluation.Reason != "$regex takes too long" {
		t.Errorf("%v", err)
	}
}

func TestSelectorsWithPatternsAreKnown(t *testing.T) {
	for selector, want := range map[string]bool{
		`{}`: false, `{"a":1}`: false, `{"a":{"$beginsWith":"x"}}`: false,
		`{"a":{"$regex":"x"}}`: true, `{"$or":[{"b":1},{"$not":{"a":{"$elemMatch":{"$regex":"x"}}}}]}`: true,
	} {
		s, err := Parse([]byte(selector))
		if err != nil || s.HasPattern() != want {
			t.Errorf("%s: %v, %v", selector, s.HasPattern(), err)
		}
	}
}
