package mango

import "math/big"

func (everything) match(value, order, *string) verdict { return yes }

func (b broken) match(_ value, _ order, why *string) verdict {
	*why = string(b)
	return crash
}

func (all allOf) match(v value, less order, why *string) verdict {
	for _, c := range all {
		if r := c.match(v, less, why); r != yes {
			return r
		}
	}
	return yes
}

// match of no alternatives is true, in CouchDB.
func (anyof anyOf) match(v value, less order, why *string) verdict {
	for _, c := range anyof {
		if r := c.match(v, less, why); r != no {
			return r
		}
	}
	return truth(len(anyof) == 0)
}

func (n negation) match(v value, less order, why *string) verdict {
	return n.condition.match(v, less, why).not()
}

func (c comparison) match(v value, less order, _ *string) verdict {
	r := less(v, c.arg)
	switch c.op {
	case "$lt":
		return truth(r < 0)
	case "$lte":
		return truth(r <= 0)
	case "$eq":
		return truth(r == 0)
	case "$ne":
		return truth(r != 0)
	case "$gte":
		return truth(r >= 0)
	default:
		return truth(r > 0)
	}
}

// match of an array is about its elements, never about the array.
func (m membership) match(v value, less order, _ *string) verdict {
	values, ok := v.(array)
	if !ok {
		values = array{v}
	}
	for _, a := range m.args {
		for _, v := range values {
			if less(v, a) == 0 {
				return truth(!m.not)
			}
		}
	}
	return truth(m.not)
}

// match wants every argument among the elements, exactly: 1 is not 1.0. An argument
// that is an array may also be the whole value.
func (all contains) match(v value, _ order, _ *string) verdict {
	values, ok := v.(array)
	if !ok || len(all) == 0 {
		return no
	}
	if len(all) == 1 {
		if a, ok := all[0].(array); ok && identical(a, values, true) {
			return yes
		}
	}
	for _, a := range all {
		if !values.has(a) {
			return no
		}
	}
	return yes
}

func (a array) has(v value) bool {
	for i := range a {
		if identical(a[i], v, false) {
			return true
		}
	}
	return false
}

// match takes a crash for an element that does not match; CouchDB then looks no
// further.
func (e elements) match(v value, less order, _ *string) verdict {
	values, ok := v.(array)
	if !ok || len(values) == 0 {
		return no
	}
	var unused string
	for _, v := range values {
		switch e.condition.match(v, less, &unused) {
		case crash:
			return no
		case yes:
			if !e.every {
				return yes
			}
		case no:
			if e.every {
				return no
			}
		}
	}
	return truth(e.every)
}

func (k keys) match(v value, less order, _ *string) verdict {
	o, ok := v.(object)
	if !ok {
		return no
	}
	var unused string
	for i := range o {
		if r := k.condition.match(o[i].name, less, &unused); r != no {
			return truth(r == yes)
		}
	}
	return no
}

// match is asked about values that are there.
func (e existence) match(value, order, *string) verdict { return truth(bool(e)) }

func (t typeName) match(v value, _ order, _ *string) verdict {
	name := "object"
	switch v.(type) {
	case nil:
		name = "null"
	case bool:
		name = "boolean"
	case int64, float64, *big.Int:
		name = "number"
	case string:
		name = "string"
	case array:
		name = "array"
	}
	return truth(string(t) == name)
}

func (m modulo) match(v value, _ order, why *string) verdict {
	var n *big.Int
	switch v := v.(type) {
	case int64:
		n = big.NewInt(v)
	case *big.Int:
		n = v
	default:
		return no
	}
	if m.divisor.Sign() == 0 {
		*why = "$mod divides by zero"
		return crash
	}
	return truth(new(big.Int).Rem(n, m.divisor).Cmp(m.rest) == 0)
}

func (s size) match(v value, _ order, _ *string) verdict {
	a, ok := v.(array)
	return truth(ok && s.n.IsInt64() && s.n.Int64() == int64(len(a)))
}

func (f fieldIs) match(v value, less order, why *string) verdict {
	if f.path == nil {
		*why = "Invalid field name: " + f.name
		return crash
	}
	v, found := f.in(v, 0)
	return f.decide(v, found, less, why)
}

func (f fieldIs) decide(v value, found found, less order, why *string) verdict {
	switch {
	case found == notFound:
		return truth(f.absent)
	case found == badPath:
		return no
	case f.name == "_id":
		return f.condition.match(v, erlang, why)
	default:
		return f.condition.match(v, less, why)
	}
}
