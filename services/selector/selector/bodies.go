package selector

import (
	"context"
	"fmt"

	"github.com/nats-io/nuid"

	"millrace/pkg/bodymessage"
	"millrace/pkg/broker"
	millracev1 "millrace/proto/millrace/v1"
)

// bodyMessage is a message of BODIES that somebody may refer to.
type bodyMessage struct {
	prefix   string
	number   uint32
	future   *broker.Future
	sequence uint64 // once it is known
	leaves   []*leaf
}

// bodyRef is where a leaf stands.
type bodyRef struct {
	message *bodyMessage
	doc     *millracev1.DocRef
}

// hander publishes the leaves of a batch that somebody wants, so that nobody reads them again.
type hander struct {
	svc     *Service
	feed    string
	prefix  string
	docs    bodymessage.Builder
	open    *bodyMessage   // of docs; nil for none
	pending []*bodyMessage // on their way
}

func (svc *Service) newHander(feed string) *hander {
	return &hander{svc: svc, feed: feed, prefix: nuid.Next()}
}

// add takes a leaf in, unless it stands in BODIES already. Documents with attachments do not: how they
// are to travel the doc-fetcher finds out.
func (h *hander) add(ctx context.Context, l *leaf) error {
	if l.ref != nil || len(l.meta.Attachments) > 0 {
		return nil
	}
	if !h.docs.Takes(len(l.doc)) {
		if err := h.flush(ctx); err != nil {
			return err
		}
	}
	if h.open == nil {
		h.docs = bodymessage.New(len(l.doc))
		h.open = &bodyMessage{prefix: h.prefix, number: uint32(len(h.pending) + 1)}
	}
	l.ref = &bodyRef{message: h.open, doc: &millracev1.DocRef{
		Id: l.meta.ID, Rev: l.meta.Rev, Offset: uint32(h.docs.Add(l.doc)), Length: uint32(len(l.doc)),
	}}
	h.open.leaves = append(h.open.leaves, l)
	return nil
}

func (h *hander) flush(ctx context.Context) (err error) {
	m := h.open
	if m == nil {
		return nil
	}
	subject := h.svc.stage.Broker().Subjects().Bodies(h.feed)
	m.future, err = h.svc.stage.Publisher().PublishAsync(ctx, subject, h.docs.Message(), broker.MsgID(fmt.Sprintf("%s.%d", m.prefix, m.number)))
	if err != nil {
		return fmt.Errorf("publish bodies: %w", err)
	}
	h.pending, h.open, h.docs = append(h.pending, m), nil, bodymessage.Builder{}
	return nil
}

// forget makes the leaves be published again by whoever comes next.
func (m *bodyMessage) forget() {
	for _, l := range m.leaves {
		l.ref = nil
	}
}

// settle waits until the broker has all, if the decision came to its end: whatever else it was, what it had
// published in part is published again by whoever decides next.
func (h *hander) settle(ctx context.Context, err error) error {
	for _, m := range h.pending {
		if err == nil {
			if m.sequence, err = m.future.Wait(ctx); err != nil {
				err = fmt.Errorf("publish bodies: %w", err)
			}
		}
		if err != nil {
			m.forget()
		}
		m.leaves = nil
	}
	if err != nil && h.open != nil {
		h.open.forget()
	}
	return err
}

// references are where leaves stand, by message.
func references(leaves []*leaf) (refs []*millracev1.BodyRef) {
	known := map[*bodyMessage]*millracev1.BodyRef{}
	for _, l := range leaves {
		if l.ref == nil {
			continue
		}
		m := l.ref.message
		ref := known[m]
		if ref == nil {
			ref = &millracev1.BodyRef{Sequence: m.sequence, Number: m.number, Prefix: m.prefix}
			known[m], refs = ref, append(refs, ref)
		}
		ref.Docs = append(ref.Docs, l.ref.doc)
	}
	return refs
}
