package replication

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/ejson"
)

var errNotAString = errors.New("not a string")

// asString reads a JSON string; null is none.
func asString(v jsontext.Value) (string, error) {
	var s string
	if v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
		return "", errNotAString
	}
	return s, nil
}

func asBool(field string, v jsontext.Value, dst *bool) error {
	switch v.Kind() {
	case 't', 'f':
		*dst = v.Kind() == 't'
		return nil
	}
	return mustBe(field, "a boolean")
}

// asInt reads an integer, also one in a string, of at least low. CouchDB takes
// any integer, and then runs with no workers or waits a negative time.
func asInt(field string, v jsontext.Value, low int, dst *int) error {
	wrong := mustBe(field, "an integer of "+strconv.Itoa(low)+" or more")
	digits := string(v)
	if s, err := asString(v); err == nil {
		digits = s
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < int64(low) {
		return wrong
	}
	if n > math.MaxInt32 {
		return mustBe(field, "at most "+strconv.Itoa(math.MaxInt32))
	}
	*dst = int(n)
	return nil
}

// asObject checks that a value is an object and keeps it as it is.
func asObject(field, what string, v jsontext.Value, dst *jsontext.Value) error {
	if v.Kind() != '{' {
		return mustBe(field, what)
	}
	*dst = v
	return nil
}

// asStrings reads an array of strings.
func asStrings(field string, v jsontext.Value) ([]string, error) {
	values, err := asArray(field, v)
	if err != nil {
		return nil, err
	}
	list := make([]string, len(values))
	for i, one := range values {
		if list[i], err = asString(one); err != nil {
			return nil, mustBe(field, "an array of strings")
		}
	}
	return list, nil
}

// asArray splits a JSON array.
func asArray(field string, v jsontext.Value) ([]jsontext.Value, error) {
	var values []jsontext.Value
	if v.Kind() != '[' || json.Unmarshal(v, &values, ejson.Lenient()...) != nil {
		return nil, mustBe(field, "an array")
	}
	return values, nil
}

func siteName(field string, v jsontext.Value) (string, error) {
	s, err := asString(v)
	if err != nil || s == "" {
		return "", mustBe(field, "the name of a site")
	}
	return s, nil
}

// docIDs are unescaped as CouchDB's replicator does it for clients of old:
// + is a space, and what is not properly escaped stays as it is.
func docIDs(field string, v jsontext.Value) ([]string, error) {
	ids, err := asStrings(field, v)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		ids[i] = unquote(id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func unquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8) // two hexadecimal digits
			b.WriteByte(byte(n))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// viewParam is the member view of query_params, "designdoc/view".
func viewParam(params jsontext.Value) (string, bool) {
	members, err := ejson.Members(params)
	if err != nil {
		return "", false
	}
	for _, m := range members {
		if m.Name == "view" {
			view, err := asString(m.Value)
			return view, err == nil && strings.Count(view, "/") == 1
		}
	}
	return "", false
}
