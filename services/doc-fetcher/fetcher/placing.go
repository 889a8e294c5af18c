package fetcher

import (
	"context"

	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/bodies"
)

// share says who is told what stands in BODIES from now on; nil for nobody.
func (p *packer) share(claim *bodies.Claim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claim = claim
}

// flush publishes what was packed, so that others find it, whatever becomes of the part.
func (p *packer) flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flushBody(ctx)
}

// settle is flush that waits until all stands in BODIES, and others have been told.
func (p *packer) settle(ctx context.Context) error {
	err := p.flush(ctx)
	p.placing.Wait()
	return err
}

// placed is where references stand in the stream.
type placed map[*millracev1.BodyRef]uint64

// announce tells the claim of leaves as soon as the messages with them stand in BODIES: others need
// not wait for the part, for which its own job may have no room for long. The packer is locked.
func (p *packer) announce(ctx context.Context, messages []pendingRef, leaves func(placed) []*bodies.Leaf) {
	claim := p.claim
	if claim == nil {
		return
	}
	messages = append([]pendingRef(nil), messages...)
	p.placing.Go(func() {
		at := make(placed, len(messages))
		for _, m := range messages {
			sequence, err := m.future.Wait(ctx)
			if err != nil {
				return // whoever publishes the part says so, and the claim is given up
			}
			at[m.ref] = sequence
		}
		claim.Placed(leaves(at)...)
	})
}

// announceBody announces the documents of the newest message. The packer is locked.
func (p *packer) announceBody(ctx context.Context) {
	leaves, newest, prefix := p.leaves, p.pending[len(p.pending)-1], p.attempt
	p.leaves = nil
	p.announce(ctx, []pendingRef{newest}, func(at placed) []*bodies.Leaf {
		m := &bodies.Message{Sequence: at[newest.ref], Prefix: prefix, Number: newest.ref.Number}
		for _, l := range leaves {
			l.Message = m
		}
		return leaves
	})
}

// announceMultipart announces a document whose attachments stand in messages of their own. The packer is
// locked.
func (p *packer) announceMultipart(ctx context.Context, m rawdoc.Meta, one *millracev1.MultipartDoc) {
	if p.claim == nil {
		return
	}
	for _, a := range one.Attachments {
		if a.Content != "" {
			return // it is kept for one part (ADR 012)
		}
	}
	// What the part that is open refers to. What an earlier one does is known.
	pending := make(map[*millracev1.BodyRef]future, len(p.pending))
	for _, r := range p.pending {
		pending[r.ref] = r.future
	}
	var messages []pendingRef
	known := placed{}
	replaced(one, func(ref *millracev1.BodyRef) *millracev1.BodyRef {
		if f := pending[ref]; f != nil {
			messages = append(messages, pendingRef{ref, f})
		} else {
			known[ref] = ref.Sequence
		}
		return ref
	})
	prefix := p.attempt
	p.announce(ctx, messages, func(at placed) []*bodies.Leaf {
		l := &bodies.Leaf{Message: &bodies.Message{Prefix: prefix}, Attached: true, Deleted: m.Deleted}
		l.Multipart = replaced(one, func(ref *millracev1.BodyRef) *millracev1.BodyRef {
			out := &millracev1.BodyRef{Sequence: at[ref], Number: ref.Number, Prefix: prefix, Docs: ref.Docs}
			if out.Sequence == 0 {
				out.Sequence = known[ref]
			}
			if l.Message.Sequence == 0 || out.Sequence < l.Message.Sequence {
				l.Message.Sequence, l.Message.Number = out.Sequence, out.Number
			}
			return out
		})
		return []*bodies.Leaf{l}
	})
}

// replaced is the document with every reference replaced.
func replaced(m *millracev1.MultipartDoc, replace func(*millracev1.BodyRef) *millracev1.BodyRef) *millracev1.MultipartDoc {
	out := &millracev1.MultipartDoc{Doc: replace(m.Doc)}
	for _, a := range m.Attachments {
		b := &millracev1.AttachmentRef{Name: a.Name, ContentType: a.ContentType, Encoding: a.Encoding, Length: a.Length, Md5: a.Md5}
		for _, c := range a.Chunks {
			b.Chunks = append(b.Chunks, replace(c))
		}
		out.Attachments = append(out.Attachments, b)
	}
	return out
}

// refer packs a leaf that stands in BODIES already, as another batch has put it there.
func (p *packer) refer(ctx context.Context, l *bodies.Leaf) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := l.Revision()
	r := revision{at.ID, at.Rev}
	if _, there := p.seen[r]; there {
		return nil
	}
	p.seen[r] = struct{}{}
	p.expected--
	p.counters.DocsRead++
	if l.Multipart != nil {
		p.open.Multiparts = append(p.open.Multiparts, l.Multipart)
		p.bytes += int(l.Multipart.Doc.Docs[0].Length)
		for _, a := range l.Multipart.Attachments {
			p.bytes += int(a.Length)
		}
		return p.roll(ctx)
	}
	ref := p.others[l.Message]
	if ref == nil {
		ref = &millracev1.BodyRef{Sequence: l.Message.Sequence, Number: l.Message.Number, Prefix: l.Message.Prefix}
		if p.others == nil {
			p.others = map[*bodies.Message]*millracev1.BodyRef{}
		}
		p.others[l.Message] = ref
		p.open.Bodies = append(p.open.Bodies, ref)
	}
	ref.Docs = append(ref.Docs, l.Doc)
	p.bytes += int(l.Doc.Length)
	return p.roll(ctx)
}
