package replication

import (
	"fmt"
	"net/http"
)

// FieldError refuses a replication document because of one of its fields.
type FieldError struct {
	// Field is the name as the document writes it; members of an object follow
	// a dot, such as "source.headers".
	Field string
	// Reason is what an API answers as "reason": CouchDB's own text where it
	// has one that people can read.
	Reason string
	// Word is what POST /_replicate answers as "error": "bad_request", or
	// "invalid_replication" for the URL of an endpoint or a proxy.
	Word string
}

func (e *FieldError) Error() string { return fmt.Sprintf("field %s: %s", e.Field, e.Reason) }

// Status is the HTTP status that POST /_replicate answers: always 400, where
// CouchDB answers some of these mistakes with a 500. A document with such a
// field is refused with 403 and the word "forbidden", as in CouchDB.
func (e *FieldError) Status() int { return http.StatusBadRequest }

// mustBe is CouchDB's text for an option of the wrong type.
func mustBe(field, what string) *FieldError {
	return &FieldError{field, fmt.Sprintf("parameter `%s` must be %s", field, what), "bad_request"}
}

// refuse is for reasons of any other form.
func refuse(field, format string, args ...any) *FieldError {
	return &FieldError{field, fmt.Sprintf(format, args...), "bad_request"}
}

func invalidURL(field, kind string) *FieldError {
	return &FieldError{field, kind + " has an invalid url", "invalid_replication"}
}
