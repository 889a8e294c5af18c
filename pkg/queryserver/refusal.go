package queryserver

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Refusal is why a document is not to be stored, in CouchDB's words.
type Refusal struct {
	// Name is CouchDB's error: "forbidden", "unauthorized", "unknown_error" for
	// anything else that was thrown, the name of an Error, "compilation_error",
	// "os_process_error" for a function that the limits ended.
	Name string
	// Reason is JSON: what was thrown with forbidden need not be text.
	Reason jsontext.Value
	// Crash: what was thrown is nothing that CouchDB expects. It fails at the
	// whole request then, with 500, and not at the document alone.
	Crash bool
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Name, r.Reason) }

func refuse(name, reason string) *Refusal {
	quoted, _ := jsontext.AppendQuote(nil, reason) // the error says only that bytes were replaced
	return &Refusal{Name: name, Reason: quoted}
}

// processError is what CouchDB answers when the process that ran the function
// ended, or was ended.
func processError(err error) *Refusal {
	if strings.Contains(err.Error(), "interrupted") {
		return refuse("os_process_error", "OS process timed out.")
	}
	return refuse("os_process_error", err.Error())
}

// crash is CouchDB's answer to what it has no clause for.
func crash() *Refusal {
	r := refuse("unknown_error", "function_clause")
	r.Crash = true
	return r
}

// judge reads the query server's answer, or what was thrown. nil accepts.
func judge(answer jsontext.Value) error {
	if text := string(answer); text == "1" || text == "true" {
		return nil
	}
	switch answer.Kind() {
	case '"':
		return &Refusal{Name: "unknown_error", Reason: answer}
	case '{':
		return judgeThrown(answer)
	case '[':
		var list []jsontext.Value
		if json.Unmarshal(answer, &list) != nil || len(list) != 3 {
			return crash()
		}
		var kind, name string
		if json.Unmarshal(list[0], &kind) != nil || kind != "error" && kind != "fatal" ||
			json.Unmarshal(list[1], &name) != nil {
			return crash()
		}
		return &Refusal{Name: name, Reason: reasonOf(list[2])}
	}
	return crash()
}

// judgeThrown reads an object that was thrown: its only member decides.
func judgeThrown(object jsontext.Value) error {
	d := jsontext.NewDecoder(bytes.NewReader(object), jsontext.AllowDuplicateNames(true))
	_, _ = d.ReadToken() // it is an object
	if d.PeekKind() == '}' {
		return crash()
	}
	name, _ := d.ReadToken()
	member := name.String()
	value, err := d.ReadValue()
	value = value.Clone()
	if err != nil || d.PeekKind() != '}' {
		return crash()
	}
	if member != "forbidden" && member != "unauthorized" {
		member = "unknown_error"
	}
	return &Refusal{Name: member, Reason: value}
}

// reasonOf shows what is no text as CouchDB does, as a term of Erlang.
func reasonOf(v jsontext.Value) jsontext.Value {
	if v.Kind() == '"' {
		return v
	}
	quoted, _ := jsontext.AppendQuote(nil, string(appendTerm(nil, v)))
	return quoted
}

// appendTerm appends JSON as Erlang prints it: {[{<<"a">>,1}]} for {"a":1}.
func appendTerm(dst []byte, v jsontext.Value) []byte {
	d := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true))
	switch v.Kind() {
	case '"':
		return append(append(append(dst, "<<"...), v...), ">>"...)
	case '{':
		dst = append(dst, "{["...)
		_, _ = d.ReadToken()
		for i := 0; d.PeekKind() != '}' && d.PeekKind() != 0; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			name, _ := d.ReadValue()
			dst = append(append(append(dst, "{<<"...), name...), ">>,"...)
			value, _ := d.ReadValue()
			dst = append(appendTerm(dst, value), '}')
		}
		return append(dst, "]}"...)
	case '[':
		dst = append(dst, '[')
		_, _ = d.ReadToken()
		for i := 0; d.PeekKind() != ']' && d.PeekKind() != 0; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			value, _ := d.ReadValue()
			dst = appendTerm(dst, value)
		}
		return append(dst, ']')
	}
	return append(dst, v...)
}
