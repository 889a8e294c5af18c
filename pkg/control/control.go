// Package control is how the replicator reaches databases without speaking to
// them: it asks the services of the side that does (invariant 3), by request and
// reply over the broker. A request changes nothing that a second one would not
// change to the same, so that it is asked again when an answer is lost.
package control

import (
	"errors"
	"fmt"
	"time"

	millracev1 "millrace/proto/millrace/v1"
)

// Side is the side of the pipeline that a database is on.
type Side string

// The sides.
const (
	Source Side = "source"
	Target Side = "target"
)

// Errors of checkpoints, matched with errors.Is on what [Client.Do] returns.
var (
	// ErrReplaced says that the database is not the one that the run began with:
	// it was deleted and created again.
	ErrReplaced = errors.New("database_replaced")
	// ErrNotOwner says that somebody else holds the lease under which the
	// checkpoint was to be written.
	ErrNotOwner = errors.New("not_owner")
	// ErrNotFound says that the database is not there.
	ErrNotFound = errors.New("db_not_found")
	// ErrDenied says that the credential does not open the database.
	ErrDenied = errors.New("unauthorized")
	// ErrFilter says that the filter function of a replication cannot be read.
	ErrFilter = errors.New("filter_fetch_error")
)

// catalogue maps the error words of replies to errors.
var catalogue = map[string]error{
	ErrReplaced.Error(): ErrReplaced,
	ErrNotOwner.Error(): ErrNotOwner,
	ErrNotFound.Error(): ErrNotFound,
	ErrDenied.Error():   ErrDenied,
	ErrFilter.Error():   ErrFilter,
}

// Error is a request that a database, or the service in front of it, refused.
type Error struct {
	Side Side
	// Word and Reason are CouchDB's.
	Word, Reason string
	// Status is HTTP's, or 0.
	Status int
	// RetryAfter is how long the server asks to wait, or 0.
	RetryAfter time.Duration
	// Permanent says that another try will not help before somebody changes something.
	Permanent bool
}

// Error is CouchDB's form of a start error: word, colon, reason.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Word, e.Reason) }

// Is matches the errors of this package by their word.
func (e *Error) Is(target error) bool { return catalogue[e.Word] == target }

func errorOf(side Side, r *millracev1.DatabaseReply) error {
	if r.Error == "" {
		return nil
	}
	return &Error{
		Side: side, Word: r.Error, Reason: r.Reason, Status: int(r.Status), Permanent: r.Permanent,
		RetryAfter: time.Duration(r.RetryAfterMs) * time.Millisecond,
	}
}
