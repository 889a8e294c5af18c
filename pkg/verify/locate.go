package verify

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// place is where two bodies first differ.
type place struct {
	pointer string // an RFC 6901 JSON Pointer; empty for the whole
	a, b    []byte // what stands there, as written; nil for nothing
}

// maxDepth is how far a difference is followed. Each level is read again, so a
// deep body costs its size times its depth.
const maxDepth = 64

// locate finds where the bodies of two documents first differ, by name and
// position; ok is false if they do not.
func locate(a, b []byte) (at place, ok bool, err error) {
	var l locator
	return l.inObjects(a, b, isProtocol, maxDepth)
}

type locator struct {
	forms canonicalizer
}

func (l *locator) inObjects(a, b []byte, omit func(name []byte) bool, depth int) (place, bool, error) {
	membersA, err := membersOf(a, omit)
	if err != nil {
		return place{}, false, err
	}
	membersB, err := membersOf(b, omit)
	if err != nil {
		return place{}, false, err
	}
	for i := 0; i < len(membersA) || i < len(membersB); i++ {
		switch {
		case i == len(membersB) || i < len(membersA) && membersA[i].name < membersB[i].name:
			return place{pointer: pointerTo(membersA[i].name), a: membersA[i].value}, true, nil
		case i == len(membersA) || membersB[i].name < membersA[i].name:
			return place{pointer: pointerTo(membersB[i].name), b: membersB[i].value}, true, nil
		}
		if at, ok, err := l.inChild(membersA[i].name, membersA[i].value, membersB[i].value, depth); ok || err != nil {
			return at, ok, err
		}
	}
	return place{}, false, nil
}

func (l *locator) inArrays(a, b []byte, depth int) (place, bool, error) {
	elementsA, err := newChildren(a)
	if err != nil {
		return place{}, false, err
	}
	elementsB, err := newChildren(b)
	if err != nil {
		return place{}, false, err
	}
	for i := 0; ; i++ {
		_, valueA, moreA, err := elementsA.next()
		if err != nil {
			return place{}, false, err
		}
		_, valueB, moreB, err := elementsB.next()
		if err != nil || !moreA && !moreB {
			return place{}, false, err
		}
		name := strconv.Itoa(i)
		if !moreA || !moreB {
			return place{pointer: pointerTo(name), a: valueA, b: valueB}, true, nil
		}
		if at, ok, err := l.inChild(name, valueA, valueB, depth); ok || err != nil {
			return at, ok, err
		}
	}
}

// inChild compares two children of the same name.
func (l *locator) inChild(name string, a, b []byte, depth int) (place, bool, error) {
	same, err := l.same(a, b)
	if same || err != nil {
		return place{}, false, err
	}
	at, ok := place{}, false
	switch kindA, kindB := jsontext.Value(a).Kind(), jsontext.Value(b).Kind(); {
	case depth == 0:
	case kindA == '{' && kindB == '{':
		none := func([]byte) bool { return false }
		at, ok, err = l.inObjects(a, b, none, depth-1)
	case kindA == '[' && kindB == '[':
		at, ok, err = l.inArrays(a, b, depth-1)
	}
	if !ok {
		at = place{a: a, b: b}
	}
	at.pointer = pointerTo(name) + at.pointer
	return at, true, err
}

// same compares two values by their form.
func (l *locator) same(a, b []byte) (bool, error) {
	if bytes.Equal(a, b) {
		return true, nil
	}
	formA, err := l.forms.append(nil, a)
	if err != nil {
		return false, errBody(err)
	}
	formB, err := l.forms.append(nil, b)
	if err != nil {
		return false, errBody(err)
	}
	return bytes.Equal(formA, formB), nil
}

// named is a member of an object: what its name says, and its value as written.
type named struct {
	name  string
	value []byte
}

// membersOf is an object's members by name, those with the same name in their order.
func membersOf(object []byte, omit func(name []byte) bool) ([]named, error) {
	c, err := newChildren(object)
	if err != nil {
		return nil, err
	}
	var members []named
	for {
		quoted, value, ok, err := c.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			slices.SortStableFunc(members, func(a, b named) int { return strings.Compare(a.name, b.name) })
			return members, nil
		}
		if name := appendText(nil, quoted); !omit(name) {
			members = append(members, named{name: string(name), value: value})
		}
	}
}

// pointerTo is the part of a JSON Pointer that leads to a child.
func pointerTo(name string) string {
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
