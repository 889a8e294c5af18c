package fetcher

import (
	"context"
	"fmt"
	"io"

	"millrace/pkg/bodymessage"
	"millrace/pkg/couch"
	"millrace/pkg/pause"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
)

// each asks for documents one by one, with their attachments in their stored
// encoding. It is the way for documents that no other way keeps as they are, and
// for what _bulk_get did not find.
func (f *fetch) each(ctx context.Context, wants []want) error {
	missing, err := f.pass(ctx, wants)
	if err != nil || len(missing) == 0 {
		return err
	}
	if err := f.yield(ctx, missing); err != nil {
		return err
	}
	// A shard may not have got them yet, or they were compacted or purged away: one wait for
	// all of them, since a database that was made again lacks every one.
	if err := pause.For(ctx, f.retryDelay); err != nil {
		return err
	}
	if missing, err = f.pass(ctx, missing); err != nil {
		return err
	}
	for range passes - 2 { // those at which the source fails are tried more often
		var failing, gone []want
		for _, w := range missing {
			if f.doubted(w) != nil {
				failing = append(failing, w)
			} else {
				gone = append(gone, w)
			}
		}
		if len(failing) == 0 {
			break
		}
		if err := f.wellBeside(ctx, failing); err != nil {
			return err
		}
		if err := pause.For(ctx, f.retryDelay); err != nil {
			return err
		}
		if failing, err = f.pass(ctx, failing); err != nil {
			return err
		}
		missing = append(gone, failing...)
	}
	return f.conclude(ctx, missing)
}

// pass asks for each document once and returns those that the source does not find.
func (f *fetch) pass(ctx context.Context, wants []want) (missing []want, err error) {
	found := make([]bool, len(wants))
	err = atOnce(ctx, len(wants), func(ctx context.Context, i int) (err error) {
		found[i], err = f.one(ctx, wants[i])
		if doubtful(err) {
			f.doubt(wants[i], err)
			found[i], err = false, nil
		} else {
			f.certain(wants[i])
		}
		return err
	})
	for i, w := range wants {
		if !found[i] {
			missing = append(missing, w)
		}
	}
	return missing, err
}

// one asks for one revision, or the leaves that descend from it, and packs what
// comes. It reports whether anything did.
func (f *fetch) one(ctx context.Context, w want) (found bool, err error) {
	o := couch.OpenRevsOptions{Revs: true, Latest: true, Attachments: true}
	if !f.full {
		o.AttsSince = w.ancestors
	}
	leaves := f.answers([]want{w})
	err = f.db.EachRevision(ctx, w.id, []string{w.rev}, o, func(rev *couch.OpenRev) (done bool, err error) {
		found = true
		chosen, err := f.choice.wants(rev.Meta, rev.Doc)
		if err != nil {
			return false, err
		}
		leaves.take(0, rev.Meta, chosen)
		if !chosen {
			return false, nil
		}
		// The revision that was asked for has been marked when it was looked at.
		if !f.packer.fresh(rev.Meta.ID, rev.Meta.Rev) && rev.Meta.Rev != w.rev {
			return false, nil
		}
		if tooLarge(rev.Meta) {
			// The answer is left where it is: what it would go on with is fetched otherwise.
			leaves.spoil(0)
			f.setAside(w)
			return true, nil
		}
		if err := f.take(ctx, rev); err != nil {
			f.packer.forget(rev.Meta.ID, rev.Meta.Rev)
			return false, err
		}
		return false, nil
	})
	if err == nil {
		leaves.end()
	}
	return found, err
}

// tooLarge reports whether the attachments that follow a document are too large for BODIES.
func tooLarge(m rawdoc.Meta) bool {
	n := int64(0)
	for _, a := range m.Following() {
		n += a.StoredLength()
	}
	return n > largeBytes
}

// databaseThere tells a missing document from a missing database, both of which are a 404:
// what the source had when it was deleted has not vanished from it, and comes again when it
// is created anew and read from its beginning (invariant 1).
func (f *fetch) databaseThere(ctx context.Context) error {
	_, err := f.db.Info(ctx)
	return err
}

// take packs a revision with the attachments that follow it.
func (f *fetch) take(ctx context.Context, rev *couch.OpenRev) error {
	m := rev.Meta
	if !follows(m) {
		return f.packer.add(ctx, m, rev.Doc, hasStubs(m))
	}
	if unpackable(m) {
		return f.small(ctx, rev)
	}
	var atts []*millracev1.AttachmentRef
	for {
		a, err := rev.NextAttachment()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		ref, err := f.attachment(ctx, a.Attachment, a)
		if err != nil {
			return fmt.Errorf("attachment %q of %q: %w", a.Name, m.ID, err)
		}
		atts = append(atts, ref)
	}
	return f.packer.addMultipart(ctx, m, rev.Doc, hasStubs(m), atts)
}

func follows(m rawdoc.Meta) bool {
	for _, a := range m.Attachments {
		if a.Follows {
			return true
		}
	}
	return false
}

// attachment publishes an attachment's content in chunks.
func (f *fetch) attachment(ctx context.Context, a rawdoc.Attachment, from io.Reader) (*millracev1.AttachmentRef, error) {
	out := &millracev1.AttachmentRef{
		Name: a.Name, ContentType: a.ContentType, Encoding: a.Encoding, Length: uint64(a.StoredLength()),
	}
	var err error
	out.Chunks, err = f.publishChunks(ctx, from, a.StoredLength())
	return out, err
}

// publishChunks publishes what is read, length bytes, one chunk of which is in memory at
// a time (invariant 5).
func (f *fetch) publishChunks(ctx context.Context, from io.Reader, length int64) (chunks []*millracev1.BodyRef, err error) {
	chunk := make([]byte, min(bodymessage.Full, length))
	for left := length; left > 0; left -= int64(len(chunk)) {
		chunk = chunk[:min(int64(len(chunk)), left)]
		if _, err := io.ReadFull(from, chunk); err != nil {
			return nil, unexpected(err)
		}
		ref, err := f.packer.addChunk(ctx, chunk)
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, ref)
	}
	_, err = from.Read(make([]byte, 1)) // whether it ends there
	if err == io.EOF {
		err = nil
	}
	return chunks, err
}
