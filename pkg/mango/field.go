package mango

import (
	"strconv"
	"strings"
)

// field is the name of a field as a selector writes it, and the path that it means.
type field struct {
	name string
	path []string // nil if the name has an empty part
}

// parseField splits a name at its dots, except those behind a backslash, and
// removes all backslashes: mango_util:parse_field.
func parseField(name string) field {
	f := field{name: name}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && (name[i] != '.' || i > 0 && name[i-1] == '\\') {
			continue
		}
		part := name[start:i]
		if part == "" {
			return field{name: name}
		}
		f.path = append(f.path, strings.ReplaceAll(part, `\`, ""))
		start = i + 1
	}
	return f
}

// found says what came of looking for a field: a field that is missing from an
// object differs from a path that leads through something else than objects.
type found int

const (
	isThere found = iota
	notFound
	badPath
)

// in looks the path up in a value, from part n on.
func (f *field) in(v value, n int) (value, found) {
	for _, part := range f.path[n:] {
		switch t := v.(type) {
		case object:
			next, ok := t.get(part)
			if !ok {
				return nil, notFound
			}
			v = next
		case array:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(t) {
				return nil, badPath
			}
			v = t[i]
		default:
			return nil, badPath
		}
	}
	return v, isThere
}

// Field is the name of a field as selectors write it, for looking it up in documents.
type Field struct{ field }

// Name is the field as selectors write it.
func (f Field) Name() string { return f.name }

// First is the name of the member of a document in which the field is.
func (f Field) First() string { return f.path[0] }
