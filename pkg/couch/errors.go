package couch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrInactive is wrapped by the errors of requests and streams on whose
	// connection nothing moved for [Options].ConnectionTimeout.
	ErrInactive = errors.New("connection inactive")
	// ErrCredentials is wrapped by the errors for credentials that are not to be had.
	ErrCredentials = errors.New("cannot log in")
	// ErrExists is wrapped by the error of [DB.Create] for a database that is there already.
	ErrExists = errors.New("database exists")
)

// HTTPError is an answer whose status is not one of those that the request expects.
type HTTPError struct {
	Method string
	// URL is the request's address without its query (invariant 9).
	URL    string
	Status int
	// Err and Reason are `error` and `reason` of the answer's body, as far as it is JSON.
	Err    string
	Reason string
	// RetryAfter is how long the server asks to wait, zero if it does not say.
	RetryAfter time.Duration

	// documents says that the request wrote documents, so that one of them may be what is refused.
	documents written
	// elsewhere says that it is not the database's server that answered, but a proxy, or who
	// gives tokens.
	elsewhere bool
	// crashed says that the server gave the error a `ref`, as CouchDB does with what went
	// wrong in its own code.
	crashed bool
}

// written says what a request writes.
type written int

const (
	writesNothing written = iota
	writesDocument
	writesDocuments
)

func (e *HTTPError) Error() string {
	s := fmt.Sprintf("%s %s: %d", e.Method, e.URL, e.Status)
	if e.Err != "" {
		s += " " + e.Err
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// RequestError is a request that got no answer: the network or the server broke it.
type RequestError struct {
	Method string
	// URL is the request's address without its query (invariant 9).
	URL string
	Err error
}

func (e *RequestError) Error() string { return fmt.Sprintf("%s %s: %v", e.Method, e.URL, e.Err) }

// Unwrap returns the cause.
func (e *RequestError) Unwrap() error { return e.Err }

// CutError is an answer that ended, or stopped making sense, before its end.
// What was read before it is valid. It matches [io.ErrUnexpectedEOF] whatever the cause.
type CutError struct {
	Method string
	// URL is the request's address without its query (invariant 9).
	URL string
	Err error
}

func (e *CutError) Error() string {
	return fmt.Sprintf("%s %s: answer cut off: %v", e.Method, e.URL, e.Err)
}

// Unwrap returns the cause.
func (e *CutError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, io.ErrUnexpectedEOF) true.
func (e *CutError) Is(target error) bool { return target == io.ErrUnexpectedEOF }

// DocError is the server's refusal of one document.
type DocError struct {
	ID     string `json:"id"`
	Rev    string `json:"rev"`
	Err    string `json:"error"`
	Reason string `json:"reason"`
}

// UnmarshalJSON takes any reason: validation functions may throw what they like.
func (e *DocError) UnmarshalJSON(b []byte) error {
	var r DocResult
	err := r.UnmarshalJSON(b)
	*e = DocError(r)
	return err
}

func (e *DocError) Error() string {
	return fmt.Sprintf("document %q rev %q: %s: %s", e.ID, e.Rev, e.Err, e.Reason)
}

// IsNotFound reports whether err is a 404: no such database or document.
func IsNotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// IsConflict reports whether err is a 409: the document has another revision.
func IsConflict(err error) bool { return hasStatus(err, http.StatusConflict) }

// IsUnauthorized reports whether err is a 401: log-in failed or is lacking.
func IsUnauthorized(err error) bool { return hasStatus(err, http.StatusUnauthorized) }

// IsForbidden reports whether err is a 403.
func IsForbidden(err error) bool { return hasStatus(err, http.StatusForbidden) }

// IsTooLarge reports whether err is a 413: the request or the document is over
// one of the server's limits.
func IsTooLarge(err error) bool { return hasStatus(err, http.StatusRequestEntityTooLarge) }

func hasStatus(err error, status int) bool {
	var e *HTTPError
	return errors.As(err, &e) && e.Status == status && !e.elsewhere
}

// errorBodyLimit bounds how much of an error's body is read, in bytes.
const errorBodyLimit = 64 << 10

// newHTTPError reads the answer's body; the caller closes it.
func newHTTPError(req *request, resp *http.Response) *HTTPError {
	e := &HTTPError{
		Method:     req.method,
		URL:        req.url.String(),
		Status:     resp.StatusCode,
		RetryAfter: retryAfter(resp.Header.Get("Retry-After")),
		documents:  req.writes,
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyLimit)) // what there is will do
	var said struct {
		Error  json.RawMessage `json:"error"`
		Reason json.RawMessage `json:"reason"`
		Ref    json.RawMessage `json:"ref"`
	}
	if json.Unmarshal(body, &said) == nil {
		e.Err, e.Reason, e.crashed = plainText(said.Error), plainText(said.Reason), said.Ref != nil
	}
	if e.Err == "" {
		e.Err = http.StatusText(resp.StatusCode)
	}
	return e
}

// plainText is the text of a JSON string, and the JSON of any other value.
func plainText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// retryAfter reads the header of that name, in either of its forms.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
