package queryserver

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Query returns what `req.query` is in CouchDB for a replication: what its replicator
// puts into the URL of _changes and the source finds there, which is text. Params is the
// replication's query_params, an object, or nil; style is "all_docs" or "main_only".
//
// As there, text is itself, numbers, booleans and null are as Erlang writes them, a list is the
// text of its strings and bytes one after another, and an object is a term of Erlang (which is not
// broken into lines here). Parameters called feed, style, since or timeout are not seen, and
// the text of those that views have (key, startkey, endkey, descending) is read as JSON.
// The error is about a list with anything else in it, or text that is no JSON; CouchDB's
// replication ends at that too.
func Query(filter, style string, continuous bool, params jsontext.Value) (jsontext.Value, error) {
	query := []member{{"filter", filter}}
	own := []member{{"feed", "normal"}, {"style", style}, {"since", "0"}, {"timeout", "10000"}}
	if continuous {
		own[0].value = "continuous"
	}
	given, err := membersOf(params)
	if err != nil {
		return nil, fmt.Errorf("query_params: %w", err)
	}
	seen := map[string]bool{}
	for _, m := range own {
		seen[m.name] = true
	}
	for _, p := range given {
		if seen[p.name] { // of a name that is repeated, the first
			continue
		}
		seen[p.name] = true
		text, err := queryText(p.value)
		if err != nil {
			return nil, fmt.Errorf("query_params: %s: %w", p.name, err)
		}
		if viewParameter(p.name) && !jsontext.Value(text).IsValid(lenient) {
			return nil, fmt.Errorf("query_params: %s is no JSON: %.100s", p.name, text)
		}
		query = append(query, member{p.name, text})
	}
	return object(append(query, own...)), nil
}

// viewParameter says whether CouchDB reads a parameter as JSON for functions.
func viewParameter(name string) bool {
	switch name {
	case "key", "startkey", "endkey", "descending":
		return true
	}
	return false
}

type member struct{ name, value string }

type rawMember struct {
	name  string
	value jsontext.Value
}

// object writes members, which may repeat names, as JSON.
func object(members []member) jsontext.Value {
	out := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, quote(m.name)...), ':')
		if viewParameter(m.name) {
			out = append(out, m.value...)
			continue
		}
		out = append(out, quote(m.value)...)
	}
	return append(out, '}')
}

func membersOf(object jsontext.Value) (members []rawMember, err error) {
	if object == nil {
		return nil, nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(object), lenient)
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, fmt.Errorf("no object: %.100s", object)
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		m := rawMember{name: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		m.value = value.Clone()
		members = append(members, m)
	}
	return members, nil
}

// queryText is Erlang's couch_util:to_list of a value, as it is put into a URL.
func queryText(v jsontext.Value) (string, error) {
	switch v.Kind() {
	case '"':
		return text(v), nil
	case '0':
		return erlangNumber(string(v)), nil
	case '{':
		return string(appendTerm(nil, v)), nil
	case '[':
		out, err := appendIOList(nil, v)
		if err == nil && !utf8.Valid(out) {
			err = fmt.Errorf("is no text: %.100s", v)
		}
		return string(out), err
	}
	return string(v), nil
}

// appendIOList appends the bytes of a list of strings, bytes and such lists.
func appendIOList(out []byte, v jsontext.Value) ([]byte, error) {
	var list []jsontext.Value
	if err := json.Unmarshal(v, &list, lenient); err != nil {
		return nil, err
	}
	var err error
	for _, v := range list {
		switch v.Kind() {
		case '"':
			out = append(out, text(v)...)
		case '[':
			if out, err = appendIOList(out, v); err != nil {
				return nil, err
			}
		default:
			n, err := strconv.ParseUint(string(v), 10, 8)
			if err != nil {
				return nil, fmt.Errorf("has no form in a URL: %.100s", v)
			}
			out = append(out, byte(n))
		}
	}
	return out, nil
}

// erlangNumber is a number as Erlang prints it: the shorter of 100000.0 and 1.0e5, from 2^53 on the latter.
func erlangNumber(text string) string {
	if !strings.ContainsAny(text, ".eE") {
		if text == "-0" {
			return "0"
		}
		return text
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	plain := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(plain, ".") {
		plain += ".0"
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(digits, ".") {
		digits += ".0"
	}
	n, _ := strconv.Atoi(exponent) // it was written the line before
	scientific := digits + "e" + strconv.Itoa(n)
	if math.Abs(f) < 1<<53 && len(plain) <= len(scientific) {
		return plain
	}
	return scientific
}
