package mango

import "strings"

// Term is a condition on one field that can be looked up.
type Term struct {
	Field Field
	// Key is that of the field's value, or of one of its elements, as
	// [Document.EachKey] says it. With Prefix it is a text with which the value, a
	// string, begins.
	Key    string
	Prefix bool
}

// Need is a condition that a document has to meet in order to match: one of the
// terms holds. A need without terms is met by no document.
type Need []Term

// Needs are conditions each of which every document meets that matches the selector;
// none if no such condition is known. They come from $eq, $in, $all, $elemMatch and
// $beginsWith, from ranges of _id that amount to a prefix, and from $and and $or of
// those. What meets them need not match.
//
// A selector that fails on some documents ([EvaluationError]) for another reason than
// the time that a regular expression takes has no needs: it has to be tried on all.
func (s *Selector) Needs() []Need {
	if canFail(s.root) {
		return nil
	}
	return needs(s.root)
}

func needs(c condition) []Need {
	switch c := c.(type) {
	case allOf:
		var all []Need
		for _, c := range c {
			all = append(all, needs(c)...)
		}
		if p := idPrefix(c); p != "" {
			all = append(all, Need{{Field: Field{parseField("_id")}, Key: p, Prefix: true}})
		}
		return all
	case anyOf:
		return needOfAny(c)
	case fieldIs:
		return needsOfField(Field{c.field}, c.condition)
	}
	return nil
}

// needOfAny takes the smallest need of each alternative.
func needOfAny(alternatives anyOf) []Need {
	if len(alternatives) == 0 {
		return nil // matches everything
	}
	any := Need{}
	for _, c := range alternatives {
		of := needs(c)
		if len(of) == 0 {
			return nil
		}
		smallest := of[0]
		for _, n := range of[1:] {
			if len(n) < len(smallest) {
				smallest = n
			}
		}
		any = append(any, smallest...)
	}
	return []Need{any}
}

func needsOfField(f Field, c condition) []Need {
	switch c := c.(type) {
	case comparison:
		if c.op == "$eq" {
			return []Need{{f.equal(c.arg)}}
		}
	case membership:
		if !c.not {
			return []Need{f.oneOf(c.args)}
		}
	case contains:
		if len(c) == 0 {
			return []Need{{}} // matches nothing
		}
		var all []Need
		for _, v := range c {
			all = append(all, Need{f.equal(v)})
		}
		return all
	case elements:
		return needsOfElements(f, c.condition)
	case prefix:
		if c != "" {
			return []Need{{{Field: f, Key: string(c), Prefix: true}}}
		}
	}
	return nil
}

// needsOfElements: some element meets the condition.
func needsOfElements(f Field, c condition) []Need {
	switch c := c.(type) {
	case comparison, membership:
		return needsOfField(f, c)
	case allOf:
		var all []Need
		for _, c := range c {
			all = append(all, needsOfElements(f, c)...)
		}
		return all
	}
	return nil
}

func (f Field) equal(v value) Term {
	return Term{Field: f, Key: string(appendKey(nil, v))}
}

func (f Field) oneOf(values array) Need {
	n := make(Need, len(values))
	for i, v := range values {
		n[i] = f.equal(v)
	}
	return n
}

// idPrefix is what all strings between the bounds of _id begin with. They are
// compared by bytes.
func idPrefix(all allOf) string {
	var low, high string
	var bounded, below, strict bool
	for _, c := range all {
		f, ok := c.(fieldIs)
		if !ok || f.name != "_id" {
			continue
		}
		c, _ := f.condition.(comparison)
		arg, ok := c.arg.(string)
		if !ok {
			continue
		}
		switch c.op {
		case "$gt", "$gte":
			low, bounded = max(low, arg), true
		case "$lt", "$lte":
			if !below || arg < high {
				high, below, strict = arg, true, c.op == "$lt"
			}
		}
	}
	if !bounded || !below {
		return ""
	}
	n := 0
	for n < len(low) && n < len(high) && low[n] == high[n] {
		n++
	}
	if strict && n+1 == len(high) && n < len(low) && low[n]+1 == high[n] {
		n++ // "joe:" <= id < "joe;"
	}
	return strings.Clone(low[:n])
}

// canFail says whether evaluating a condition may crash, for another reason than time.
func canFail(c condition) bool {
	switch c := c.(type) {
	case allOf:
		return anyCanFail(c)
	case anyOf:
		return anyCanFail(c)
	case negation:
		return canFail(c.condition)
	case fieldIs:
		return c.path == nil || canFail(c.condition)
	case modulo:
		return c.divisor.Sign() == 0
	case broken:
		return true
	}
	return false // also elements and keys, which catch it
}

func anyCanFail(all []condition) bool {
	for _, c := range all {
		if canFail(c) {
			return true
		}
	}
	return false
}
