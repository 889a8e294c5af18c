package mango

import (
	"errors"
	"fmt"

	"millrace/pkg/ejson"
)

// Error is what CouchDB has against a selector. A request for
// _changes?filter=_selector with such a selector is answered with 400, the word
// "bad_request" and Reason; _find answers with 400, Name and Reason.
type Error struct {
	// Name is bad_arg, bad_field, invalid_operator, not_supported or
	// invalid_selector.
	Name string
	// Reason is CouchDB's text, word for word.
	Reason string
}

func (e *Error) Error() string { return e.Name + ": " + e.Reason }

// ErrNotObject is returned by [Parse] for JSON that is no object.
var ErrNotObject = errors.New("a selector must be a JSON object")

func badArg(op string, arg any) error {
	return &Error{"bad_arg", fmt.Sprintf("Bad argument for operator %s: %s", op, ejson.Text(arg))}
}

func badField(selector any) error {
	return &Error{"bad_field", "Invalid field normalization on selector: " + ejson.Text(selector)}
}

func notSupported(op string) error {
	return &Error{"not_supported", "Unsupported operator: " + op}
}

func invalidOperator(op string) error {
	return &Error{"invalid_operator", "Invalid operator: " + op}
}

var errNoFieldName = &Error{"invalid_selector", "One or more conditions is missing a field name."}

// EvaluationError says that a selector cannot be evaluated on a document, where
// CouchDB's evaluation crashes: a field's name has an empty part ("a..b"), $mod
// divides by zero, or a regular expression takes too long.
type EvaluationError struct{ Reason string }

func (e *EvaluationError) Error() string { return "the selector cannot be evaluated: " + e.Reason }
