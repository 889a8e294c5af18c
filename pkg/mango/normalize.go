package mango

import (
	"math/big"
	"strings"

	"millrace/pkg/ejson"
)

// normalize brings a selector into the form in which it is evaluated:
// mango_selector:normalize of CouchDB 3.5.0. The members of objects keep their
// order, which is part of a value.
func normalize(selector ejson.Object) (ejson.Object, error) {
	if len(selector) == 0 {
		return selector, nil
	}
	explicit, err := explicitOperators(selector)
	if err != nil {
		return nil, err
	}
	flat, err := flattenFields(explicit, "")
	if err != nil {
		return nil, err
	}
	normal, err := pushNegations(flat)
	if err != nil {
		return nil, err
	}
	if _, unnamed := normal.Get(""); unnamed {
		return nil, errNoFieldName
	}
	return normal, nil
}

func one(key string, value any) ejson.Object {
	return ejson.Object{{Key: key, Value: value}}
}

// explicitOperators makes implicit operators explicit, so that each object has
// one member: {"a":1,"b":2} becomes {"$and":[{"a":{"$eq":1}},{"b":{"$eq":2}}]}.
// It refuses unknown operators and arguments of the wrong type.
func explicitOperators(v any) (ejson.Object, error) {
	o, ok := v.(ejson.Object)
	if !ok || len(o) == 0 {
		return one("$eq", v), nil
	}
	if len(o) > 1 {
		all := make(ejson.Array, len(o))
		for i, p := range o {
			c, err := explicitOperators(ejson.Object{p})
			if err != nil {
				return nil, err
			}
			all[i] = c
		}
		return one("$and", all), nil
	}
	op, arg := o[0].Key, o[0].Value
	if !strings.HasPrefix(op, "$") {
		c, err := explicitOperators(arg)
		return one(op, c), err
	}
	return checkOperator(op, arg)
}

func checkOperator(op string, arg any) (ejson.Object, error) {
	switch op {
	case "$and", "$or", "$nor":
		return eachExplicit(op, arg)
	case "$not", "$elemMatch", "$allMatch", "$keyMapMatch":
		if _, ok := arg.(ejson.Object); !ok {
			return nil, badArg(op, arg)
		}
		c, err := explicitOperators(arg)
		return one(op, c), err
	case "$where", "$geoWithin", "$geoIntersects", "$near", "$nearSphere":
		return nil, notSupported(op)
	}
	valid, known := validArgument(op, arg)
	switch {
	case !known:
		return nil, invalidOperator(op)
	case !valid && op == "$beginsWith":
		return nil, invalidOperator(op) // as CouchDB says it
	case !valid:
		return nil, badArg(op, arg)
	case op == "$text":
		return one("$default", one(op, arg)), nil
	}
	return one(op, arg), nil
}

func eachExplicit(op string, arg any) (ejson.Object, error) {
	args, ok := arg.(ejson.Array)
	if !ok {
		return nil, badArg(op, arg)
	}
	each, err := mapEach(args, explicitOperators)
	return one(op, each), err
}

// validArgument checks operators whose argument is no selector.
func validArgument(op string, arg any) (valid, known bool) {
	switch op {
	case "$lt", "$lte", "$eq", "$ne", "$gte", "$gt", "$default":
		return true, true
	case "$in", "$nin", "$all":
		_, ok := arg.(ejson.Array)
		return ok, true
	case "$exists":
		_, ok := arg.(bool)
		return ok, true
	case "$type", "$beginsWith":
		_, ok := arg.(string)
		return ok, true
	case "$regex":
		pattern, ok := arg.(string)
		return ok && isRegex(pattern), true
	case "$mod":
		a, ok := arg.(ejson.Array)
		return ok && len(a) == 2 && isInt(a[0]) && isInt(a[1]), true
	case "$size":
		n, ok := arg.(*big.Int)
		return ok && n.Sign() >= 0, true
	case "$text":
		switch arg.(type) {
		case string, bool, float64, *big.Int:
			return true, true
		}
		return false, true
	}
	return false, false
}

func isInt(v any) bool {
	_, ok := v.(*big.Int)
	return ok
}

// flattenFields pushes field names down to the operators on values, joining
// nested ones with dots: {"a":{"$and":[{"b":{"$gt":1}}]}} becomes
// {"$and":[{"a.b":{"$gt":1}}]}. Each object has one member here.
func flattenFields(v any, path string) (ejson.Object, error) {
	o, ok := v.(ejson.Object)
	if !ok || len(o) != 1 {
		return nil, badField(v)
	}
	key, arg := o[0].Key, o[0].Value
	switch key {
	case "$and", "$or", "$nor":
		return flattenEach(key, arg, path)
	case "$not":
		c, err := flattenFields(arg, path)
		return one(key, c), err
	case "$elemMatch", "$allMatch", "$keyMapMatch":
		c, err := flattenFields(arg, "")
		return one(path, one(key, c)), err
	case "$default":
		if path != "" || !isText(arg) {
			return nil, badField(o)
		}
		return o, nil
	}
	switch {
	case strings.HasPrefix(key, "$"):
		return one(path, o), nil
	case path == "":
		return flattenFields(arg, key)
	}
	return flattenFields(arg, path+"."+key)
}

func flattenEach(op string, arg any, path string) (ejson.Object, error) {
	args, ok := arg.(ejson.Array)
	if !ok {
		return nil, badArg(op, arg)
	}
	each, err := mapEach(args, func(v any) (ejson.Object, error) { return flattenFields(v, path) })
	return one(op, each), err
}

func isText(v any) bool {
	o, ok := v.(ejson.Object)
	return ok && len(o) == 1 && o[0].Key == "$text"
}

func mapEach(args ejson.Array, f func(any) (ejson.Object, error)) (ejson.Array, error) {
	each := make(ejson.Array, len(args))
	for i, a := range args {
		c, err := f(a)
		if err != nil {
			return nil, err
		}
		each[i] = c
	}
	return each, nil
}
