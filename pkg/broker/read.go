package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// query asks for one message of a stream: the one with a sequence, the first of
// a subject at or after a sequence, or the newest of a subject.
type query struct {
	Sequence uint64 `json:"seq,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
}

// get reads one message by its sequence.
func (b *Broker) get(ctx context.Context, stream string, sequence uint64) (Entry, error) {
	return b.getDirect(ctx, stream, query{Sequence: sequence}, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, sequence)
	})
}

// getNext reads the first message of a subject at or after a sequence.
func (b *Broker) getNext(ctx context.Context, stream, subject string, from uint64) (Entry, error) {
	from = max(from, 1)
	return b.getDirect(ctx, stream, query{Sequence: from, NextFor: subject}, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
	})
}

// getLast reads the newest message of a subject. It asks the stream's leader:
// another replica may not have it yet.
func (b *Broker) getLast(ctx context.Context, stream, subject string) (Entry, error) {
	return b.getFromLeader(ctx, stream, query{LastFor: subject})
}

// getDirect reads from any replica, which is the fast way. One that lags behind
// the others may not have the message yet: before it is declared gone, the
// leader is asked.
func (b *Broker) getDirect(ctx context.Context, stream string, q query,
	get func(context.Context, jetstream.Stream) (*jetstream.RawStreamMsg, error)) (Entry, error) {
	var e Entry
	err := b.insist(ctx, func(ctx context.Context) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		raw, err := get(ctx, s)
		if err == nil {
			e = Entry{Sequence: raw.Sequence, Subject: raw.Subject, Header: storedHeader(raw.Header), Data: raw.Data, Time: raw.Time}
		}
		return err
	})
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return e, err
	}
	if b.Private() { // nobody else has it
		return Entry{}, ErrGone
	}
	return b.getFromLeader(ctx, stream, q)
}

// storedMessage is the leader's answer.
type storedMessage struct {
	Message *struct {
		Subject  string    `json:"subject"`
		Sequence uint64    `json:"seq"`
		Header   []byte    `json:"hdrs"`
		Data     []byte    `json:"data"`
		Time     time.Time `json:"time"`
	} `json:"message"`
	Error *jetstream.APIError `json:"error"`
}

// getFromLeader reads what the stream's leader has. The client library offers no
// such reading for a stream that allows direct ones.
func (b *Broker) getFromLeader(ctx context.Context, stream string, q query) (Entry, error) {
	request, err := json.Marshal(q)
	if err != nil {
		return Entry{}, err
	}
	var answer storedMessage
	err = b.insist(ctx, func(ctx context.Context) error {
		answer = storedMessage{}
		return b.request(ctx, "$JS.API.STREAM.MSG.GET."+stream, request, &answer)
	})
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return Entry{}, ErrGone
	case err != nil:
		return Entry{}, err
	case answer.Message == nil:
		return Entry{}, fmt.Errorf("stream %s: unreadable answer", stream)
	}
	m := answer.Message
	e := Entry{Sequence: m.Sequence, Subject: m.Subject, Data: m.Data, Time: m.Time, Header: nats.Header{}}
	if len(m.Header) > 0 {
		if e.Header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return Entry{}, fmt.Errorf("headers of %s/%d: %w", stream, e.Sequence, err)
		}
	}
	return e, nil
}

// request makes one request to the JetStream API. The API's own refusal is an
// error too.
func (b *Broker) request(ctx context.Context, subject string, body []byte, answer *storedMessage) error {
	reply, err := b.conn.RequestWithContext(ctx, subject, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		return fmt.Errorf("unreadable answer to %s: %w", subject, err)
	}
	if answer.Error == nil {
		return nil
	}
	if answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return jetstream.ErrMsgNotFound
	}
	return answer.Error
}
