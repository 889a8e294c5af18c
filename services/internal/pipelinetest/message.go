package pipelinetest

import (
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/stage"
)

// Messages are all messages of a stream under a subject, wildcards included, in order.
func (p *Pipeline) Messages(stream, subject string) []broker.Entry {
	p.t.Helper()
	s := p.stream(stream)
	var all []broker.Entry
	for next := uint64(1); ; {
		raw, err := s.GetMsg(p.Context(), next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all
		}
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, broker.Entry{Sequence: raw.Sequence, Subject: raw.Subject, Header: raw.Header, Data: raw.Data, Time: raw.Time})
		next = raw.Sequence + 1
	}
}

// AwaitMessages waits until the stream has so many messages under the subject.
func (p *Pipeline) AwaitMessages(stream, subject string, n int) []broker.Entry {
	p.t.Helper()
	var all []broker.Entry
	p.Await("messages in "+stream, func() bool {
		all = p.Messages(stream, subject)
		return len(all) >= n
	})
	return all
}

// Lose takes one message out of a stream, as limits or a crash of the broker's machine would.
func (p *Pipeline) Lose(stream string, sequence uint64) {
	p.t.Helper()
	if err := p.stream(stream).DeleteMsg(p.Context(), sequence); err != nil {
		p.t.Fatal(err)
	}
}

// Purge takes all messages out of a stream.
func (p *Pipeline) Purge(stream string) {
	p.t.Helper()
	if err := p.stream(stream).Purge(p.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// Repeat publishes a message once more, without the id by which the broker would know it.
func (p *Pipeline) Repeat(e broker.Entry) {
	p.t.Helper()
	p.Publish(e.Subject, e.Data, e.Header)
}

// Publish publishes a message with the headers of another, but for those about its place
// in a stream.
func (p *Pipeline) Publish(subject string, data []byte, like nats.Header) {
	p.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = data
	for name, values := range like {
		if len(name) < 5 || name[:5] != "Nats-" {
			m.Header[name] = values
		}
	}
	if _, err := p.Broker().JetStream().PublishMsg(p.Context(), m); err != nil {
		p.t.Fatal(err)
	}
}

// Decode reads a message of the pipeline into m.
func (p *Pipeline) Decode(e broker.Entry, m proto.Message) {
	p.t.Helper()
	if err := proto.Unmarshal(e.Data, m); err != nil {
		p.t.Fatal(err)
	}
}

func (p *Pipeline) stream(name string) jetstream.Stream {
	p.t.Helper()
	s, err := p.Broker().JetStream().Stream(p.Context(), name)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// Send publishes a message as a stage of the present version would.
func (p *Pipeline) Send(subject string, m proto.Message) {
	p.t.Helper()
	msg, err := stage.NewMessage(p.Context(), nuid.Next(), m)
	if err != nil {
		p.t.Fatal(err)
	}
	header := nats.Header{}
	for name, value := range msg.Metadata {
		header.Set(name, value)
	}
	p.Publish(subject, msg.Payload, header)
}
