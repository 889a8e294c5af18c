package millpond

import (
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/queryserver"
)

// Error is an answer in CouchDB's shape: {"error": Name, "reason": Reason}.
type Error struct {
	Status int
	Name   string
	Reason string

	value jsontext.Value // the reason, where it is no text
	row   bool           // refuses one document of many, whatever its status
	ref   uint32         // of a failure in the server itself, as CouchDB adds it
}

func newError(status int, name, reason string) *Error {
	return &Error{Status: status, Name: name, Reason: reason}
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Name, e.Reason) }

// Forbidden is what Options.Validate returns to refuse a document as a
// validation function does with {forbidden: reason}.
func Forbidden(reason string) error {
	return &Error{Status: http.StatusForbidden, Name: "forbidden", Reason: reason, row: true}
}

// Unauthorized is Forbidden with {unauthorized: reason}.
func Unauthorized(reason string) error {
	return &Error{Status: http.StatusUnauthorized, Name: "unauthorized", Reason: reason, row: true}
}

// CouchDB's errors that take no argument.
var (
	errMissing       = newError(http.StatusNotFound, "not_found", "missing")
	errDeleted       = newError(http.StatusNotFound, "not_found", "deleted")
	errNoDatabase    = newError(http.StatusNotFound, "not_found", "Database does not exist.")
	errNoAttachment  = newError(http.StatusNotFound, "not_found", "Document is missing attachment")
	errConflict      = newError(http.StatusConflict, "conflict", "Document update conflict.")
	errFileExists    = newError(http.StatusPreconditionFailed, "file_exists", "The database could not be created, the file already exists.")
	errTooLarge      = newError(http.StatusRequestEntityTooLarge, "too_large", "the request entity is too large")
	errBadJSON       = badRequest("invalid UTF-8 JSON")
	errNotObject     = badRequest("Request body must be a JSON object")
	errBadRev        = badRequest("Invalid rev format")
	errNeedsRev      = badRequest("When `new_edits: false`, the document needs `_rev` or `_revisions` specified")
	errContentType   = newError(http.StatusUnsupportedMediaType, "bad_content_type", "Content-Type must be application/json")
	errWrongPassword = newError(http.StatusUnauthorized, "unauthorized", "Name or password is incorrect.")
)

func badRequest(reason string) *Error {
	return newError(http.StatusBadRequest, "bad_request", reason)
}

func queryError(reason string) *Error {
	return newError(http.StatusBadRequest, "query_parse_error", reason)
}

func docValidation(reason string) *Error {
	return newError(http.StatusBadRequest, "doc_validation", reason)
}

func illegalID(reason string) *Error {
	return newError(http.StatusBadRequest, "illegal_docid", reason)
}

func missingStub(id, attachment string) *Error {
	return newError(
		http.StatusPreconditionFailed, "missing_stub",
		fmt.Sprintf("Invalid attachment stub in %s for %s", id, attachment),
	)
}

func methodNotAllowed(allowed ...string) *Error {
	return newError(
		http.StatusMethodNotAllowed, "method_not_allowed",
		"Only "+strings.Join(allowed, ",")+" allowed",
	)
}

func notImplemented(what string) *Error {
	return newError(http.StatusNotImplemented, "not_implemented", what+" is not implemented by Millpond")
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
	return newError(http.StatusInternalServerError, "internal_server_error", err.Error())
}

// newCrash is CouchDB's answer to what it has no clause for: the status of a failure
// of the server, with a number that is the same for the same failure.
func newCrash(what string) *Error {
	return &Error{
		Status: http.StatusInternalServerError, Name: "unknown_error", Reason: "function_clause",
		ref: crc32.ChecksumIEEE([]byte(what)),
	}
}

// refusalError is the answer to a document that a validation function refused, or
// failed at. Of the names that a function may give CouchDB knows some, with
// statuses and reasons of their own.
func refusalError(err error) error {
	var r *queryserver.Refusal
	if !errors.As(err, &r) {
		return err
	}
	if r.Crash {
		return newCrash("a validation function")
	}
	e := &Error{Status: http.StatusInternalServerError, Name: r.Name, value: r.Reason, row: true}
	switch {
	case r.Name == "forbidden":
		e.Status = http.StatusForbidden
	case r.Name == "unauthorized":
		e.Status = http.StatusUnauthorized
	case r.Name == "not_found":
		e.Status = http.StatusNotFound
	case r.Name == "bad_request":
		e.Status = http.StatusBadRequest
	case r.Name == "conflict":
		e.Status, e.value, e.Reason = errConflict.Status, nil, errConflict.Reason
	}
	return e
}

// appendMembers appends the members of the error's object without the braces.
func (e *Error) appendMembers(dst []byte) []byte {
	dst = append(dst, `"error":`...)
	dst = appendString(dst, e.Name)
	dst = append(dst, `,"reason":`...)
	if e.value != nil {
		dst = append(dst, e.value...)
	} else {
		dst = appendString(dst, e.Reason)
	}
	if e.ref != 0 {
		dst = append(dst, `,"ref":`...)
		dst = strconv.AppendUint(dst, uint64(e.ref), 10)
	}
	return dst
}

// appendString appends a JSON string. Bytes that are not UTF-8 are replaced.
func appendString(dst []byte, s string) []byte {
	dst, err := jsontext.AppendQuote(dst, s)
	_ = err // says only that something was replaced
	return dst
}
