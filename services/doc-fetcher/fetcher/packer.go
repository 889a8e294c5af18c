package fetcher

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/bodymessage"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/bodies"
)

const (
	// partBytes is how many bytes of bodies a part refers to. It bounds what a job
	// that is slow to write holds of BODIES (invariant 5).
	partBytes = 4 << 20
)

// future is a message of BODIES on its way into the stream; Wait returns its sequence.
type future interface {
	Wait(ctx context.Context) (uint64, error)
}

// outlet is where a packer's messages go.
type outlet interface {
	// body publishes a message of BODIES under an id; it waits while too much is in
	// flight.
	body(ctx context.Context, id string, payload []byte) (future, error)
	// part publishes a part of the batch; it waits while the job has too many.
	part(ctx context.Context, p *millracev1.WriteBatch) error
}

// packer puts documents into messages of BODIES, and references to them into
// parts. A part is published when it is full, before the rest of the batch is
// fetched, so that a batch of any size passes in bounded memory. It is safe for concurrent
// use: documents with attachments are fetched several at once, and all wait while a part does.
type packer struct {
	out      outlet
	position *millracev1.Position
	attempt  string
	// whole is set when exactly one part is to come of it: a part fetched again.
	whole *millracev1.Part

	placing sync.WaitGroup // see announce

	mu       sync.Mutex // guards what follows
	seen     map[revision]struct{}
	expected int                 // documents that are still to come, about
	body     bodymessage.Builder // not yet published
	refs     []*millracev1.DocRef
	pending  []pendingRef
	bytes    int
	bodies   uint32 // messages of BODIES so far
	number   uint32 // of the part
	open     *millracev1.WriteBatch
	counters *millracev1.Counters
	// claim is told what stands in BODIES; nil where nothing is shared.
	claim  *bodies.Claim
	leaves []*bodies.Leaf                          // of refs, where it is told
	others map[*bodies.Message]*millracev1.BodyRef // references of the open part to what others have fetched
	sent   *sending                                // the newest part that is on its way; nil for none
}

type revision struct{ id, rev string }

// pendingRef is a reference whose stream sequence is not known yet.
type pendingRef struct {
	ref    *millracev1.BodyRef
	future future
}

func newPacker(out outlet, b *millracev1.MissingBatch, attempt string) *packer {
	p := &packer{
		out: out, position: b.Position, attempt: attempt, whole: b.Part,
		seen: map[revision]struct{}{}, counters: &millracev1.Counters{},
	}
	for _, d := range b.Docs {
		p.expected += len(d.Revs)
	}
	if b.Counters != nil {
		proto.Merge(p.counters, b.Counters)
	}
	p.reset()
	return p
}

func (p *packer) reset() {
	p.open, p.bytes = &millracev1.WriteBatch{Position: p.position, BodyPrefix: p.attempt}, 0
	clear(p.others)
}

// fresh reports whether the revision was not packed yet, and marks it. A source
// asked for an ancestor and its leaf returns the leaf twice.
func (p *packer) fresh(id, rev string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := revision{id, rev}
	if _, there := p.seen[r]; there {
		return false
	}
	p.seen[r] = struct{}{}
	return true
}

// has reports whether the revision was packed.
func (p *packer) has(id, rev string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, there := p.seen[revision{id, rev}]
	return there
}

// hasOf reports whether any revision of the document was packed.
func (p *packer) hasOf(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r := range p.seen {
		if r.id == id {
			return true
		}
	}
	return false
}

// forget makes a revision fresh again whose document could not be read to its end.
func (p *packer) forget(id, rev string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, revision{id, rev})
}

// handOver packs documents that were read for a filter, as far as they are wanted: they stand in BODIES. A
// document is read once where CouchDB's replicator would read it.
func (p *packer) handOver(ctx context.Context, from *millracev1.BodyRef, wanted map[revision]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ref := &millracev1.BodyRef{Sequence: from.Sequence, Number: from.Number, Prefix: from.Prefix}
	for _, d := range from.Docs {
		r := revision{d.Id, d.Rev}
		if _, there := p.seen[r]; there || !wanted[r] {
			continue
		}
		p.seen[r] = struct{}{}
		ref.Docs = append(ref.Docs, d)
		p.bytes += int(d.Length)
	}
	if len(ref.Docs) == 0 {
		return nil
	}
	p.open.Bodies = append(p.open.Bodies, ref)
	p.counters.DocsRead += uint64(len(ref.Docs))
	p.expected -= len(ref.Docs)
	return p.roll(ctx)
}

// add packs one document for _bulk_docs; doc stays the caller's. stubs says that some of its
// attachments are.
func (p *packer) add(ctx context.Context, m rawdoc.Meta, doc []byte, stubs bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.body.Takes(len(doc)) {
		if err := p.flushBody(ctx); err != nil {
			return err
		}
	}
	if p.body.Size() == 0 {
		p.body = bodymessage.New(max(len(doc), min(bodymessage.Full, p.expected*(len(doc)+1))))
	}
	p.expected--
	ref := &millracev1.DocRef{Id: m.ID, Rev: m.Rev, Offset: uint32(p.body.Add(doc)), Length: uint32(len(doc)), Stubs: stubs}
	p.refs = append(p.refs, ref)
	if p.claim != nil {
		p.leaves = append(p.leaves, &bodies.Leaf{Doc: ref, Attached: len(m.Attachments) > 0, Deleted: m.Deleted})
	}
	p.counters.DocsRead++
	return p.roll(ctx)
}

// addChunk puts a piece of an attachment into a message of its own.
func (p *packer) addChunk(ctx context.Context, chunk []byte) (*millracev1.BodyRef, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.publishBody(ctx, bodymessage.Of(chunk))
}

// publishBody publishes a message of BODIES.
func (p *packer) publishBody(ctx context.Context, b bodymessage.Builder) (*millracev1.BodyRef, error) {
	p.bodies++
	f, err := p.out.body(ctx, fmt.Sprintf("%s.%d", p.attempt, p.bodies), b.Message())
	if err != nil {
		return nil, fmt.Errorf("publish bodies: %w", err)
	}
	ref := &millracev1.BodyRef{Number: p.bodies}
	p.pending = append(p.pending, pendingRef{ref, f})
	p.bytes += b.Size()
	return ref, nil
}

// addMultipart packs a document whose attachments keep their stored encoding; their
// contents are in messages of their own already.
func (p *packer) addMultipart(ctx context.Context, m rawdoc.Meta, doc []byte, stubs bool, atts []*millracev1.AttachmentRef) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ref, err := p.publishBody(ctx, bodymessage.Of(doc))
	if err != nil {
		return err
	}
	ref.Docs = []*millracev1.DocRef{{Id: m.ID, Rev: m.Rev, Length: uint32(len(doc)), Stubs: stubs}}
	one := &millracev1.MultipartDoc{Doc: ref, Attachments: atts}
	p.open.Multiparts = append(p.open.Multiparts, one)
	p.announceMultipart(ctx, m, one)
	p.counters.DocsRead++
	return p.roll(ctx)
}

// reject packs a revision that could not be fetched.
func (p *packer) reject(r *millracev1.Rejection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Position, r.Stage = p.position, Name
	p.open.Rejected = append(p.open.Rejected, r)
}

// roll publishes the part when it is full, unless it has to stay whole.
func (p *packer) roll(ctx context.Context) error {
	if p.bytes+p.body.Size() < partBytes || p.whole != nil {
		return nil
	}
	return p.publish(ctx, false)
}

// reservePart numbers a part that somebody else publishes.
func (p *packer) reservePart() *millracev1.Part {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number++
	return &millracev1.Part{Attempt: p.attempt, Number: p.number}
}

// finish publishes the last part; it may be empty, which says that the batch has
// nothing more to be done.
func (p *packer) finish(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.publish(ctx, true)
}

// count adds to the counters.
func (p *packer) count(add func(*millracev1.Counters)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add(p.counters)
}

func (p *packer) publish(ctx context.Context, last bool) error {
	if err := p.flushBody(ctx); err != nil {
		return err
	}
	for _, ref := range p.pending {
		sequence, err := ref.future.Wait(ctx)
		if err != nil {
			return fmt.Errorf("publish bodies: %w", err)
		}
		ref.ref.Sequence = sequence
	}
	p.pending = p.pending[:0]
	p.number++
	p.open.Part = &millracev1.Part{Attempt: p.attempt, Number: p.number, Last: last}
	if p.whole != nil {
		p.open.Part = p.whole
	}
	p.open.Counters, p.counters = p.counters, &millracev1.Counters{}
	part := p.open
	p.reset()
	if err := p.send(ctx, part); err != nil {
		return fmt.Errorf("publish part: %w", err)
	}
	return nil
}

func (p *packer) flushBody(ctx context.Context) error {
	if len(p.refs) == 0 {
		return nil
	}
	ref, err := p.publishBody(ctx, p.body)
	if err != nil {
		return err
	}
	ref.Docs = p.refs
	p.open.Bodies = append(p.open.Bodies, ref)
	p.announceBody(ctx)
	p.body, p.refs = bodymessage.Builder{}, nil
	return nil
}
