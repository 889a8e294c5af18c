package mango

import (
	"math/big"
	"strings"

	"millrace/pkg/ejson"
)

// verdict is what came of a condition. Where CouchDB's evaluation crashes, and
// nothing catches it, there is none.
type verdict int

const (
	no verdict = iota
	yes
	crash
)

func truth(b bool) verdict {
	if b {
		return yes
	}
	return no
}

func (v verdict) not() verdict {
	switch v {
	case yes:
		return no
	case no:
		return yes
	}
	return crash
}

// A condition is a node of a normalised selector. It decides on a value under an
// order; why is set when it crashes.
type condition interface {
	match(v value, less order, why *string) verdict
}

type (
	allOf      []condition
	anyOf      []condition
	negation   struct{ condition }
	comparison struct {
		op  string
		arg value
	}
	membership struct {
		args array
		not  bool
	}
	contains array // $all
	elements struct {
		condition
		every bool
	}
	keys       struct{ condition }
	existence  bool
	typeName   string
	modulo     struct{ divisor, rest *big.Int }
	size       struct{ n *big.Int }
	everything struct{}
	broken     string // what CouchDB crashes at
	fieldIs    struct {
		field
		condition
		absent bool // the condition is {"$exists": false}
	}
)

// compile makes conditions of a normalised selector.
func compile(normal ejson.Object) condition {
	if len(normal) == 0 {
		return everything{}
	}
	op, arg := normal[0].Key, normal[0].Value
	switch op {
	case "$and":
		return allOf(compileEach(arg))
	case "$or":
		return anyOf(compileEach(arg))
	case "$not":
		return negation{compile(arg.(ejson.Object))}
	case "$elemMatch", "$allMatch":
		return elements{compile(arg.(ejson.Object)), op == "$allMatch"}
	case "$keyMapMatch":
		return keys{compile(arg.(ejson.Object))}
	case "":
		return compile(arg.(ejson.Object))
	case "$default": // CouchDB believes the text index
		return everything{}
	}
	if strings.HasPrefix(op, "$") {
		return compileOperator(op, arg)
	}
	exists, only := arg.(ejson.Object).Get("$exists")
	return fieldIs{parseField(op), compile(arg.(ejson.Object)), only && exists == false}
}

func compileEach(args any) []condition {
	each := make([]condition, len(args.(ejson.Array)))
	for i, a := range args.(ejson.Array) {
		each[i] = compile(a.(ejson.Object))
	}
	return each
}

func compileOperator(op string, arg any) condition {
	switch op {
	case "$lt", "$lte", "$eq", "$ne", "$gte", "$gt":
		return comparison{op, constant(arg)}
	case "$in", "$nin":
		return membership{constant(arg).(array), op == "$nin"}
	case "$all":
		return contains(constant(arg).(array))
	case "$exists":
		return existence(arg.(bool))
	case "$type":
		return typeName(arg.(string))
	case "$mod":
		a := arg.(ejson.Array)
		return modulo{a[0].(*big.Int), a[1].(*big.Int)}
	case "$size":
		return size{arg.(*big.Int)}
	case "$regex":
		return compileRegex(arg.(string))
	case "$beginsWith":
		return prefix(arg.(string))
	default: // $nor, where negations are not pushed down
		return broken("Invalid operator: " + op)
	}
}
