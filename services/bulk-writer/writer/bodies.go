package writer

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/content"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/bulk-writer/messages"
)

// bodyReader reads what a part refers to from BODIES.
type bodyReader struct {
	broker *broker.Broker
	cache  *messages.Cache
	prefix string // of the ids of the messages whose references have none of their own
	// store has the contents of large attachments.
	store *content.Store
}

// read returns the bytes of one message, which others may have as well. It is [broker.ErrGone] when the
// message is not there any more, or another one is: sequences begin anew when the broker's disk is lost.
func (r *bodyReader) read(ctx context.Context, ref *millracev1.BodyRef) ([]byte, error) {
	key := messages.Key{Sequence: ref.Sequence, ID: fmt.Sprintf("%s.%d", cmp.Or(ref.Prefix, r.prefix), ref.Number)}
	return r.cache.Get(ctx, key, func(ctx context.Context) ([]byte, error) {
		e, err := r.broker.GetEntry(ctx, r.broker.Streams().Bodies, key.Sequence)
		if err != nil {
			return nil, fmt.Errorf("read body: %w", err)
		}
		if e.Header.Get(jetstream.MsgIDHeader) != key.ID {
			return nil, fmt.Errorf("read body %d: another message stands there: %w", key.Sequence, broker.ErrGone)
		}
		var m millracev1.Bodies
		if err := proto.Unmarshal(e.Data, &m); err != nil {
			return nil, fmt.Errorf("read body %d: %w", key.Sequence, err)
		}
		return m.Docs, nil
	})
}

// documents reads the documents of one message. They share its memory, unless they are the smaller part
// of it: those of a filtered job may come from so many messages that all of them together are too large
// (invariant 5).
func (r *bodyReader) documents(ctx context.Context, ref *millracev1.BodyRef) ([]document, error) {
	body, err := r.read(ctx, ref)
	if err != nil {
		return nil, err
	}
	own := 2*bodyBytes([]*millracev1.BodyRef{ref}) < len(body)
	docs := make([]document, len(ref.Docs))
	for i, d := range ref.Docs {
		end := uint64(d.Offset) + uint64(d.Length)
		if end > uint64(len(body)) {
			return nil, fmt.Errorf("body %d: document %d ends at byte %d of %d", ref.Sequence, i, end, len(body))
		}
		doc := body[d.Offset:end:end]
		if own {
			doc = bytes.Clone(doc)
		}
		docs[i] = document{d, doc}
	}
	return docs, nil
}

// content returns an attachment's bytes as a stream that holds one or two chunks at a
// time (invariant 5).
func (r *bodyReader) content(ctx context.Context, a *millracev1.AttachmentRef) io.ReadCloser {
	if a.Content != "" {
		return r.store.Open(ctx, a.Content, int64(a.Length), a.Md5)
	}
	return &chunkReader{ctx: ctx, bodies: r, chunks: a.Chunks}
}

// chunkReader is one reading of an attachment. It lives as long as the request
// that it is the body of, whose context it keeps.
type chunkReader struct {
	ctx    context.Context
	bodies *bodyReader
	chunks []*millracev1.BodyRef
	rest   []byte
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if len(r.chunks) == 0 {
			return 0, io.EOF
		}
		chunk, err := r.bodies.read(r.ctx, r.chunks[0])
		if err != nil {
			return 0, err
		}
		r.rest, r.chunks = chunk, r.chunks[1:]
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *chunkReader) Close() error { return nil }
