package couch

import (
	"errors"
	"net/http"
	"strings"
)

// Class says what to do about an error.
type Class int

const (
	// Transient errors may be gone at the next try: network errors, cut answers,
	// 408, 429, every status from 500 on but 501, and a context that was cancelled.
	Transient Class = iota
	// Permanent errors stay until someone changes something: credentials,
	// permissions, a database that is not there, something that the server does not have.
	Permanent
	// PerDocument errors are the fault of one document in the request: of the
	// document itself where it was alone, and otherwise of one that is found by taking the
	// batch apart. Never conclude from one that nothing was written.
	PerDocument
)

func (c Class) String() string {
	switch c {
	case Transient:
		return "transient"
	case Permanent:
		return "permanent"
	default:
		return "per-document"
	}
}

// Classify says what to do about an error of this package. It is the only place
// where statuses are judged; the rules are those of CouchDB's replicator.
func Classify(err error) Class {
	var broken *CutError
	var doc *DocError
	switch {
	case errors.As(err, &broken): // whatever the server said about it
		return Transient
	case errors.As(err, &doc):
		return classifyRow(doc.Err)
	case errors.Is(err, ErrAttachments):
		return PerDocument
	case errors.Is(err, ErrBadEndpoint), errors.Is(err, ErrBadTLS), errors.Is(err, ErrCredentials):
		return Permanent
	}
	var answer *HTTPError
	if !errors.As(err, &answer) {
		return Transient // the network, or the other end's process
	}
	switch {
	case answer.blamesDocument():
		return PerDocument
	case transientStatus(answer.Status):
		return Transient
	}
	return Permanent
}

// Suspects reports whether the server failed at the request in a way that a document in it may be
// the cause of, though nothing says so: CouchDB's own code crashes at some (a number of 5,000 digits
// is a 500 `badarith`), a server's process dies of others, and its proxy answers. The class of
// such errors is [Transient], and mostly rightly so: only a document that fails again and again while
// others, right beside it, do not ([DB.WriteBeside]) is to blame.
func Suspects(err error) bool {
	var answer *HTTPError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return !ill(answer.Err)
	}
	return false
}

// ill reports whether an `error` speaks of the server and not of a document.
func ill(name string) bool {
	switch name {
	case "timeout", "internal_server_error", "service_unavailable", "too_many_requests", "nodedown", "all_workers_died":
		return true
	}
	return false
}

func transientStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented: // and will not be at the next try
		return false
	}
	return status >= 500
}

// blamesDocument reports whether a request that wrote documents was refused because
// of one of them.
func (e *HTTPError) blamesDocument() bool {
	switch e.documents {
	case writesDocument:
		return e.blamesSingle()
	case writesDocuments:
		// An empty or illegal id, a bad revision, an unknown member, a missing stub,
		// a document or a request that is too large.
		switch e.Status {
		case http.StatusBadRequest, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge:
			return true
		}
	}
	return false
}

// blamesSingle judges the refusal of a document that was written alone. Validation
// functions throw with the same statuses as the server's own access control, which
// has fixed reasons.
func (e *HTTPError) blamesSingle() bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return !deniesAccess(e.Reason)
	case http.StatusBadRequest, http.StatusPreconditionFailed,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return true
	case http.StatusInternalServerError:
		return e.brokeValidation()
	}
	return false
}

// brokeValidation reports whether a validation function failed at the document, or threw
// what is no refusal. CouchDB answers in the function's own words, and 500 where the
// document was alone: TypeError, unknown_error, compilation_error. The same will come of it
// the next time. What goes wrong in CouchDB itself has a `ref`.
func (e *HTTPError) brokeValidation() bool {
	if e.crashed || strings.Contains(e.Err, " ") { // a space is in the status' text only
		return false
	}
	return e.Err == "unknown_error" || e.Err == "compilation_error" || strings.HasSuffix(e.Err, "Error")
}

// deniesAccess reports whether the reason is one with which CouchDB refuses a user,
// as opposed to a document.
func deniesAccess(reason string) bool {
	for _, start := range []string{
		"You are not authorized to access this db",
		"You are not allowed to access this db",
		"You are not a db or server admin",
		"You are not a server admin",
		"Name or password is incorrect",
		"Authentication required",
		"Account is temporarily locked",
	} {
		if strings.HasPrefix(reason, start) {
			return true
		}
	}
	return false
}

// classifyRow judges the `error` that _bulk_docs and _bulk_get give to single
// documents. What is neither a known trouble of the server nor a known absence is the document's.
func classifyRow(name string) Class {
	if ill(name) {
		return Transient
	}
	return PerDocument
}
