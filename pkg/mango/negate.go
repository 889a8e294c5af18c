package mango

import (
	"strings"

	"millrace/pkg/ejson"
)

// pushNegations moves negations down to the operators that have an opposite, by
// De Morgan's laws: {"$not":{"a":{"$gt":1}}} becomes {"a":{"$lte":1}}.
func pushNegations(o ejson.Object) (ejson.Object, error) {
	key, arg := o[0].Key, o[0].Value
	switch key {
	case "$not":
		return negate(arg)
	case "$nor":
		return negateEach("$and", arg)
	case "$and", "$or":
		each, err := mapEach(arg.(ejson.Array), pushInto)
		return one(key, each), err
	case "$elemMatch", "$allMatch", "$keyMapMatch":
		c, err := pushInto(arg)
		return one(key, c), err
	default:
		return o, nil
	}
}

func pushInto(v any) (ejson.Object, error) { return pushNegations(v.(ejson.Object)) }

// opposite is the operator that negates another, for those that CouchDB negates;
// it leaves $not before the others.
func opposite(op string) (string, bool) {
	switch op {
	case "$lt":
		return "$gte", true
	case "$lte":
		return "$gt", true
	case "$gt":
		return "$lte", true
	case "$gte":
		return "$lt", true
	case "$eq":
		return "$ne", true
	case "$ne":
		return "$eq", true
	case "$in":
		return "$nin", true
	case "$nin":
		return "$in", true
	}
	return "", false
}

// negate returns the negation of a flattened condition.
func negate(v any) (ejson.Object, error) {
	o := v.(ejson.Object)
	key, arg := o[0].Key, o[0].Value
	if other, ok := opposite(key); ok {
		return one(other, arg), nil
	}
	switch key {
	case "$not":
		return pushInto(arg)
	case "$nor":
		each, err := mapEach(arg.(ejson.Array), pushInto)
		return one("$or", each), err
	case "$and":
		return negateEach("$or", arg)
	case "$or":
		return negateEach("$and", arg)
	case "$default":
		return nil, badArg("$not", o)
	case "$exists":
		return one(key, !arg.(bool)), nil
	}
	if strings.HasPrefix(key, "$") {
		return one("$not", o), nil
	}
	c, err := negate(arg)
	return one(key, c), err
}

func negateEach(op string, arg any) (ejson.Object, error) {
	each, err := mapEach(arg.(ejson.Array), negate)
	return one(op, each), err
}
