package broker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nuid"
)

// handle hands one message to a handler and tells the broker what became of it.
func (s *subscription) handle(subject string, h *held) {
	m, err := s.open(h)
	if err != nil {
		s.b.log.Warn("read message", "subject", subject, "sequence", h.sequence, "error", err)
		s.settle(subject, h, s.nak(h, s.o.nakDelay(h.delivered)))
		return
	}
	ctx, cancel := context.WithCancel(s.parent)
	defer cancel()
	m.SetContext(ctx)
	select {
	case s.out <- m:
	case <-s.pulling.Done():
		s.settle(subject, h, s.nak(h, 0))
		return
	}
	select {
	case <-m.Acked():
		s.settle(subject, h, s.ack(h))
	case <-m.Nacked():
		s.settle(subject, h, s.nak(h, s.o.nakDelay(h.delivered)))
	case <-s.handling.Done():
		s.settle(subject, h, s.nak(h, 0))
	}
}

func (s *subscription) ack(h *held) error {
	if !s.o.AckSync {
		return s.b.acknowledge(h.msg, verbAck)
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return s.b.ackSync(ctx, h.msg)
}

// open makes Watermill's message of a delivered one. The content of a large
// message is fetched only now, so that no more of them than are handled are in
// memory (invariant 5).
func (s *subscription) open(h *held) (*message.Message, error) {
	header := h.msg.Header
	payload, err := s.b.checkOut(s.pulling, header, h.msg.Data)
	lost := errors.Is(err, ErrClaimLost)
	if err != nil && !lost {
		return nil, err
	}
	header = withoutClaim(header)
	id := header.Get(HeaderMessageID)
	if id == "" {
		id = nuid.Next()
	}
	m := message.NewMessage(id, payload)
	for key, values := range header {
		// NATS' own are about this message in this stream. A handler that sends
		// the message on must not send them along: its id, for one, would make
		// the broker drop it.
		if key != HeaderMessageID && len(values) > 0 && !strings.HasPrefix(key, "Nats-") {
			m.Metadata[key] = values[0]
		}
	}
	m.Metadata[MetaSequence] = formatUint(h.sequence)
	m.Metadata[MetaSubject] = h.msg.Subject
	m.Metadata[MetaDelivered] = formatUint(h.delivered)
	m.Metadata[MetaPublished] = h.published.UTC().Format(time.RFC3339Nano)
	if lost {
		m.Metadata[MetaClaimLost] = strconv.FormatBool(true)
	}
	return m, nil
}
