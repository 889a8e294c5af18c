package broker

import (
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of Millrace's own. NATS' begin with "Nats-".
const (
	// HeaderMessageID carries a Watermill message's UUID. The id for
	// de-duplication is another.
	HeaderMessageID = "Millrace-Message"
	// HeaderPrevious names, in a log that is written by an [Appender], the
	// stream sequence of the entry before; 0 for the first.
	HeaderPrevious = "Millrace-Previous"
	// HeaderEpoch is the ownership under which an entry was appended.
	HeaderEpoch = "Millrace-Epoch"
	// HeaderOrdinal is the number of an appended entry within its log.
	HeaderOrdinal = "Millrace-Ordinal"
)

// A message's size on the wire, as the server counts it: MaxPayload includes the
// headers.
func wireSize(m *nats.Msg) int { return headerSize(m.Header) + len(m.Data) }

func headerSize(h nats.Header) int {
	if len(h) == 0 {
		return 0
	}
	size := len("NATS/1.0\r\n\r\n")
	for key, values := range h {
		for _, v := range values {
			size += len(key) + len(": ") + len(v) + len("\r\n")
		}
	}
	return size
}

// PublishOption adds to a message that is published.
type PublishOption func(nats.Header)

// MsgID is the id by which the broker drops what it has already got, for two
// minutes.
func MsgID(id string) PublishOption {
	return func(h nats.Header) { h.Set(jetstream.MsgIDHeader, id) }
}

// Header sets one header.
func Header(key, value string) PublishOption {
	return func(h nats.Header) { h.Set(key, value) }
}

// ExpectLast makes the broker refuse the message ([ErrFenced]) unless the newest
// message of subject has this stream sequence; 0: there is none.
func ExpectLast(subject string, sequence uint64) PublishOption {
	return func(h nats.Header) {
		h.Set(jetstream.ExpectedLastSubjSeqSubjHeader, subject)
		h.Set(jetstream.ExpectedLastSubjSeqHeader, formatUint(sequence))
	}
}
