package broker

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrFenced says that somebody else has taken over what this process
	// believed to own: the broker refused a write because the sequence that it
	// expected has moved on. Never retry it.
	ErrFenced = errors.New("fenced: another owner has taken over")
	// ErrSubjectFull says that a subject holds as many messages as it may.
	// Only [Publisher.TryPublish] returns it; all other ways of publishing wait.
	ErrSubjectFull = errors.New("subject is full")
	// ErrGone says that a message which was referred to is no longer there:
	// trimmed by limits, purged, or lost with the broker's disk.
	ErrGone = errors.New("message is gone from the stream")
	// ErrClaimLost says that the content of a large message is no longer there,
	// or is not what was stored, although the message itself is.
	ErrClaimLost = errors.New("content of a large message is lost")
	// ErrClosed says that the broker, publisher or reader was closed.
	ErrClosed = errors.New("closed")
	// ErrDataDirInUse says that another process runs on the same data
	// directory.
	ErrDataDirInUse = errors.New("data directory is in use by another process")
	// ErrRefused says that the broker will never take this message, whatever
	// the number of attempts.
	ErrRefused = errors.New("message refused by the broker")
)

// Codes of the JetStream API that decide what becomes of a publish.
const (
	codeMaximumPerSubject  jetstream.ErrorCode = 10077 // also a full stream: match the description
	codeWrongLastSequence  jetstream.ErrorCode = 10071
	codeSequenceInFlight   jetstream.ErrorCode = 10164 // replicated: another write to that subject is on its way
	codeDuplicateInFlight  jetstream.ErrorCode = 10158
	codeInvalidStreamWrite jetstream.ErrorCode = 10060 // expected stream does not match
	codeMessageTooLarge    jetstream.ErrorCode = 10054
	codeHeaderTooLarge     jetstream.ErrorCode = 10097
	codeTTLInvalid         jetstream.ErrorCode = 10165
	codeTTLDisabled        jetstream.ErrorCode = 10166
	codeNoPeers            jetstream.ErrorCode = 10005 // the cluster has not enough servers yet
	descriptionSubjectFull                     = "maximum messages per subject exceeded"
)

// verdict is what a failed publish means.
type verdict uint8

const (
	verdictRetry  verdict = iota // outcome unknown or passing: try again
	verdictFull                  // the subject is at its cap
	verdictFenced                // the expected sequence has moved on
	verdictNever                 // no attempt will succeed
)

// judge says what a failed publish means. Whatever it does not know is worth
// another attempt: a message must not be lost to an error nobody had thought of
// (invariant 1).
func judge(err error) verdict {
	switch {
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject),
		errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrHeadersNotSupported):
		return verdictNever
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return verdictRetry
	}
	switch api.ErrorCode {
	case codeMaximumPerSubject:
		if api.Description == descriptionSubjectFull {
			return verdictFull
		}
		return verdictRetry
	case codeWrongLastSequence:
		return verdictFenced
	case codeInvalidStreamWrite, codeMessageTooLarge, codeHeaderTooLarge, codeTTLInvalid, codeTTLDisabled:
		return verdictNever
	}
	// codeSequenceInFlight and codeDuplicateInFlight among them: a replicated
	// stream answers so while an earlier attempt is still being agreed on.
	return verdictRetry
}

// publishError is the error of a publish that was given up.
func publishError(subject string, err error) error {
	switch judge(err) {
	case verdictFenced:
		return fmt.Errorf("publish to %s: %w: %w", subject, ErrFenced, err)
	case verdictFull:
		return fmt.Errorf("publish to %s: %w", subject, ErrSubjectFull)
	case verdictNever:
		if errors.Is(err, nats.ErrConnectionClosed) {
			return fmt.Errorf("publish to %s: %w", subject, ErrClosed)
		}
		return fmt.Errorf("publish to %s: %w: %w", subject, ErrRefused, err)
	}
	return fmt.Errorf("publish to %s: %w", subject, err)
}
