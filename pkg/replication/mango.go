package replication

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"millrace/pkg/replication/ejson"
)

// selectorError says what CouchDB has against a selector, in the words of its
// mango_selector: bad_arg, bad_field, invalid_operator, not_supported or
// invalid_selector, and the operator or field that it is about.
type selectorError struct{ kind, about string }

func (e *selectorError) Error() string {
	return fmt.Sprintf("%s %q", e.kind, e.about)
}

// normalizeSelector brings a selector into the form that CouchDB hashes for the
// replication id: mango_selector:normalize of CouchDB 3.5.0, with the members of
// every object sorted by name. Only the id needs it; matching has its own rules.
func normalizeSelector(selector ejson.Object) (sorted ejson.Object, err error) {
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
		return nil, &selectorError{"invalid_selector", "missing_field_name"}
	}
	return sortKeys(normal).(ejson.Object), nil
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
			return nil, &selectorError{"bad_arg", op}
		}
		c, err := explicitOperators(arg)
		return one(op, c), err
	case "$where", "$geoWithin", "$geoIntersects", "$near", "$nearSphere":
		return nil, &selectorError{"not_supported", op}
	}
	valid, known := validArgument(op, arg)
	switch {
	case !known:
		return nil, &selectorError{"invalid_operator", op}
	case !valid:
		return nil, &selectorError{"bad_arg", op}
	case op == "$text":
		return one("$default", one(op, arg)), nil
	}
	return one(op, arg), nil
}

func eachExplicit(op string, arg any) (ejson.Object, error) {
	args, ok := arg.(ejson.Array)
	if !ok {
		return nil, &selectorError{"bad_arg", op}
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
	case "$type", "$regex", "$beginsWith":
		_, ok := arg.(string)
		return ok, true
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
		return nil, &selectorError{"bad_field", path}
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
			return nil, &selectorError{"bad_field", key}
		}
		return o, nil
	}
	switch {
	case strings.HasPrefix(key, "$"):
		return one(path, o), nil
	case path == "":
		return flattenFields(arg, key)
	default:
		return flattenFields(arg, path+"."+key)
	}
}

func flattenEach(op string, arg any, path string) (ejson.Object, error) {
	args, ok := arg.(ejson.Array)
	if !ok {
		return nil, &selectorError{"bad_arg", op}
	}
	each, err := mapEach(args, func(v any) (ejson.Object, error) { return flattenFields(v, path) })
	return one(op, each), err
}

func isText(v any) bool {
	o, ok := v.(ejson.Object)
	return ok && len(o) == 1 && o[0].Key == "$text"
}

// sortKeys sorts the members of all objects, also inside values. Repeated names
// come out in reverse order, as from CouchDB's ejsort.
func sortKeys(v any) any {
	switch t := v.(type) {
	case ejson.Array:
		sorted := make(ejson.Array, len(t))
		for i, e := range t {
			sorted[i] = sortKeys(e)
		}
		return sorted
	case ejson.Object:
		sorted := make(ejson.Object, len(t))
		for i, p := range t {
			sorted[len(t)-1-i] = ejson.Pair{Key: p.Key, Value: sortKeys(p.Value)}
		}
		slices.SortStableFunc(sorted, func(a, b ejson.Pair) int { return strings.Compare(a.Key, b.Key) })
		return sorted
	default:
		return v
	}
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
