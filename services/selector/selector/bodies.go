package selector

import (
	"context"
	"fmt"

	"github.com/nats-io/nuid"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	millracev1 "millrace/proto/millrace/v1"
)

// bodyBytes is how full a message of BODIES gets: DESIGN section 3 aims at 256-512 KB.
const bodyBytes = 448 << 10

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
	number  uint32
	docs    []byte
	leaves  []*leaf
	pending []*bodyMessage
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
	if len(h.docs) > 0 && len(h.docs)+1+len(l.doc) > bodyBytes {
		if err := h.flush(ctx); err != nil {
			return err
		}
	}
	if len(h.docs) > 0 {
		h.docs = append(h.docs, ',')
	}
	l.ref = &bodyRef{doc: &millracev1.DocRef{
		Id: l.meta.ID, Rev: l.meta.Rev, Offset: uint32(len(h.docs)), Length: uint32(len(l.doc)),
	}}
	h.docs = append(h.docs, l.doc...)
	h.leaves = append(h.leaves, l)
	return nil
}

func (h *hander) flush(ctx context.Context) error {
	if len(h.leaves) == 0 {
		return nil
	}
	h.number++
	m := &bodyMessage{prefix: h.prefix, number: h.number, leaves: h.leaves}
	payload, err := proto.Marshal(&millracev1.Bodies{Docs: h.docs})
	if err != nil {
		return err
	}
	subject := h.svc.stage.Broker().Subjects().Bodies(h.feed)
	m.future, err = h.svc.stage.Publisher().PublishAsync(ctx, subject, payload, broker.MsgID(fmt.Sprintf("%s.%d", m.prefix, m.number)))
	if err != nil {
		m.forget()
		return fmt.Errorf("publish bodies: %w", err)
	}
	for _, l := range h.leaves {
		l.ref.message = m
	}
	h.pending = append(h.pending, m)
	h.docs, h.leaves = h.docs[:0], nil
	return nil
}

// forget makes the leaves be published again by whoever comes next.
func (m *bodyMessage) forget() {
	for _, l := range m.leaves {
		l.ref = nil
	}
}

// settle waits until the broker has all.
func (h *hander) settle(ctx context.Context) (err error) {
	for _, m := range h.pending {
		if err == nil {
			m.sequence, err = m.future.Wait(ctx)
		}
		if err != nil {
			m.forget()
		}
		m.leaves = nil
	}
	if err != nil {
		return fmt.Errorf("publish bodies: %w", err)
	}
	return nil
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
