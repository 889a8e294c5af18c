package queryserver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// FilterError is what went wrong with a filter function, or with a document in it.
type FilterError struct {
	// DesignDoc is the id of the design document, Function where in it the function stands.
	DesignDoc, Function string
	// Doc is the id of the document, empty where none is to blame.
	Doc string
	// Name is CouchDB's error: "TypeError" and the like, "compilation_error",
	// "not_found", "os_process_error" for a function that the limits ended.
	Name string
	// Reason is CouchDB's, as text; for an Error this is of little use ("{[]}").
	Reason string
	// Message is for people: of an Error, what it says. It is never longer than some hundred bytes.
	Message string
}

func (e *FilterError) Error() string {
	text := fmt.Sprintf("filter function %s of %s", e.Function, e.DesignDoc)
	if e.Doc != "" {
		text += fmt.Sprintf(" at document %q", e.Doc)
	}
	return text + ": " + e.Message
}

// longest is what of an error is worth showing; what is thrown can be of any length.
const longest = 1000

// thrown is what a function threw, or the query server itself.
type thrown struct {
	name    string
	reason  jsontext.Value
	message string
}

func (t *thrown) Error() string { return t.name + ": " + string(t.reason) }

// thrownOf reads the query server's form of an error: ["error", name, reason].
func thrownOf(answer jsontext.Value, message string) *thrown {
	var list []jsontext.Value
	var kind string
	t := &thrown{message: message}
	if answer.Kind() != '[' || json.Unmarshal(answer, &list, lenient) != nil || len(list) != 3 ||
		json.Unmarshal(list[0], &kind) != nil || json.Unmarshal(list[1], &t.name) != nil {
		t.name, t.reason = "unknown_error", quote(message)
		return t
	}
	t.reason = list[2]
	return t
}

func (f *Filter) failed(doc string, err error) *FilterError {
	e := &FilterError{DesignDoc: f.DesignDoc, Function: f.Path, Doc: doc}
	var t *thrown
	switch {
	case errors.As(err, &t):
		e.Name, e.Reason = t.name, text(t.reason)
		e.Message = t.name + ": " + e.Reason
		if t.message != "" && !strings.HasPrefix(e.Reason, "SyntaxError") && t.reason.Kind() != '"' {
			e.Message = t.message
		}
	case errors.Is(err, errInterrupted):
		e.Name, e.Reason = "os_process_error", "OS process timed out."
		e.Message = fmt.Sprintf("%s: stopped after %v", e.Name, f.filters.options.Limits.Timeout)
	default:
		e.Name, e.Reason = "os_process_error", err.Error()
		e.Message = e.Name + ": " + e.Reason
	}
	e.Message = short(e.Message)
	return e
}

// text is the text of a JSON string, and anything else as CouchDB shows it, as a term of Erlang.
func text(v jsontext.Value) string {
	var s string
	if v.Kind() == '"' && json.Unmarshal(v, &s, lenient) == nil {
		return s
	}
	return string(appendTerm(nil, v))
}

func quote(s string) jsontext.Value {
	quoted, _ := jsontext.AppendQuote(nil, s) // the error says only that bytes were replaced
	return quoted
}

func short(s string) string {
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "..."
}
