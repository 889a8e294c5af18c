package millpond

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Error is an answer in CouchDB's shape: {"error": Name, "reason": Reason}.
type Error struct {
	Status int
	Name   string
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Name, e.Reason) }

// Forbidden is what Options.Validate returns to refuse a document as a
// validation function does with {forbidden: reason}.
func Forbidden(reason string) error {
	return &Error{http.StatusForbidden, "forbidden", reason}
}

// Unauthorized is Forbidden with {unauthorized: reason}.
func Unauthorized(reason string) error {
	return &Error{http.StatusUnauthorized, "unauthorized", reason}
}

// CouchDB's errors that take no argument.
var (
	errMissing       = &Error{http.StatusNotFound, "not_found", "missing"}
	errDeleted       = &Error{http.StatusNotFound, "not_found", "deleted"}
	errNoDatabase    = &Error{http.StatusNotFound, "not_found", "Database does not exist."}
	errNoAttachment  = &Error{http.StatusNotFound, "not_found", "Document is missing attachment"}
	errConflict      = &Error{http.StatusConflict, "conflict", "Document update conflict."}
	errFileExists    = &Error{http.StatusPreconditionFailed, "file_exists", "The database could not be created, the file already exists."}
	errTooLarge      = &Error{http.StatusRequestEntityTooLarge, "too_large", "the request entity is too large"}
	errBadJSON       = badRequest("invalid UTF-8 JSON")
	errNotObject     = badRequest("Request body must be a JSON object")
	errBadRev        = badRequest("Invalid rev format")
	errNeedsRev      = badRequest("When `new_edits: false`, the document needs `_rev` or `_revisions` specified")
	errContentType   = &Error{http.StatusUnsupportedMediaType, "bad_content_type", "Content-Type must be application/json"}
	errWrongPassword = &Error{http.StatusUnauthorized, "unauthorized", "Name or password is incorrect."}
	errDigest        = &Error{http.StatusBadRequest, "content_md5_mismatch", "Possible message corruption."}
)

func badRequest(reason string) *Error {
	return &Error{http.StatusBadRequest, "bad_request", reason}
}

func queryError(reason string) *Error {
	return &Error{http.StatusBadRequest, "query_parse_error", reason}
}

func docValidation(reason string) *Error {
	return &Error{http.StatusBadRequest, "doc_validation", reason}
}

func illegalID(reason string) *Error {
	return &Error{http.StatusBadRequest, "illegal_docid", reason}
}

func missingStub(id, attachment string) *Error {
	return &Error{
		http.StatusPreconditionFailed, "missing_stub",
		fmt.Sprintf("Invalid attachment stub in %s for %s", id, attachment),
	}
}

func methodNotAllowed(allowed ...string) *Error {
	return &Error{
		http.StatusMethodNotAllowed, "method_not_allowed",
		"Only " + strings.Join(allowed, ",") + " allowed",
	}
}

func notImplemented(what string) *Error {
	return &Error{http.StatusNotImplemented, "not_implemented", what + " is not implemented by Millpond"}
}

// asError turns what a handler returned into what the client is told.
func asError(err error) *Error {
	var answer *Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.Is(err, ErrNoDatabase):
		return errNoDatabase
	case errors.Is(err, ErrDatabaseExists):
		return errFileExists
	case errors.As(err, &tooLarge):
		return errTooLarge
	}
	return &Error{http.StatusInternalServerError, "internal_server_error", err.Error()}
}

// appendMembers appends the members of the error's object without the braces.
func (e *Error) appendMembers(dst []byte) []byte {
	dst = append(dst, `"error":`...)
	dst = appendString(dst, e.Name)
	dst = append(dst, `,"reason":`...)
	return appendString(dst, e.Reason)
}

// appendString appends a JSON string. Bytes that are not UTF-8 are replaced.
func appendString(dst []byte, s string) []byte {
	dst, err := jsontext.AppendQuote(dst, s)
	_ = err // says only that something was replaced
	return dst
}
