package fetcher

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"millrace/pkg/bodymessage"
	"millrace/pkg/content"
	"millrace/pkg/couch"
	"millrace/pkg/pause"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
)

// largeBytes is how many bytes of attachments, as stored, a document may have that passes
// through BODIES. What has more would be all that a part refers to at most, and so the whole
// share of a job of that stream, from which it would push out what others have to write; and it
// is worth not beginning anew when something breaks.
const largeBytes = partBytes

// contents is where the contents of large attachments are put.
type contents interface {
	// Reserve makes room for all contents of the part that is fetched. The errors are
	// [content.ErrNoRoom] and [content.ErrTooLarge].
	Reserve(ctx context.Context, wanted []content.Wanted) error
	// Ensure sees to it that one of them is there, and returns its MD5.
	Ensure(ctx context.Context, from content.Source) ([]byte, error)
	// Release gives all room of the part back.
	Release(ctx context.Context) error
	// Scope tells the source's contents from those of others.
	Scope() string
}

// setAsideFetch fetches what was set aside: each document as a part of its own, for which
// somebody is told to fetch it. Where all has to stay one part it is done here.
//
// A document waits for the room for its contents while nothing waits for it but itself, and
// while no other contents are kept for its part: or two batches could each have what the
// other needs.
func (f *fetch) setAsideFetch(ctx context.Context) error {
	if len(f.heavy) == 0 {
		return nil
	}
	if f.packer.whole != nil {
		return f.large(ctx, f.heavy)
	}
	for _, w := range f.heavy {
		if err := f.order(ctx, w, f.packer.reservePart()); err != nil {
			return fmt.Errorf("order a large document: %w", err)
		}
	}
	return nil
}

// large fetches documents with the contents of their large attachments, each content once for
// all who want it.
func (f *fetch) large(ctx context.Context, wants []want) error {
	for attempt := 0; len(wants) > 0; attempt++ {
		docs, missing, err := f.look(ctx, wants)
		if err != nil {
			return err
		}
		vanished, err := f.store(ctx, docs)
		if err != nil {
			return err
		}
		wants = append(missing, vanished...)
		if attempt == missingRetries {
			return f.conclude(ctx, wants)
		}
		if err := f.wellBeside(ctx, wants); err != nil {
			return err
		}
		if len(wants) > 0 {
			if err := pause.For(ctx, f.retryDelay); err != nil {
				return err
			}
		}
	}
	return nil
}

// heavyDoc is a document whose attachments are fetched one by one.
type heavyDoc struct {
	want // as it came: its own revision
	doc  []byte
	meta rawdoc.Meta
	// needed are the attachments that the target has not, by their index; stored those of
	// them that are kept as contents.
	needed, stored []int
}

// look asks for documents without their attachments.
func (f *fetch) look(ctx context.Context, wants []want) (docs []heavyDoc, missing []want, err error) {
	for _, w := range wants {
		found, err := f.lookAt(ctx, w)
		if doubtful(err) {
			f.doubt(w, err)
			missing = append(missing, w)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		f.certain(w)
		if len(found) == 0 {
			missing = append(missing, w)
		}
		for _, d := range found {
			if chosen, err := f.choice.wants(d.meta, d.doc); err != nil {
				return nil, nil, err
			} else if chosen && (d.rev == w.rev || f.packer.fresh(d.id, d.rev)) {
				docs = append(docs, d)
			}
		}
	}
	return docs, missing, nil
}

// lookAt asks for one revision, or the leaves that descend from it.
func (f *fetch) lookAt(ctx context.Context, w want) (found []heavyDoc, err error) {
	o := couch.OpenRevsOptions{Revs: true, Latest: true, AttEncodingInfo: true}
	err = f.db.EachRevision(ctx, w.id, []string{w.rev}, o, func(rev *couch.OpenRev) (bool, error) {
		d := heavyDoc{want: want{rev.Meta.ID, rev.Meta.Rev, w.ancestors, nil}, doc: rev.Doc, meta: rev.Meta}
		found = append(found, d)
		return false, found[len(found)-1].choose(f.full)
	})
	return found, err
}

// choose decides which attachments are fetched, and which of them are kept as contents: all
// but small ones, of which BODIES has as many as a part may refer to.
func (d *heavyDoc) choose(full bool) error {
	known := int64(0)
	if !full {
		history, err := rawdoc.ParseRevisions(d.meta.RawRevisions)
		if err != nil {
			return err
		}
		known = newestOf(history, d.ancestors)
	}
	small := int64(0)
	for i, a := range d.meta.Attachments {
		if a.RevPos <= known && known > 0 {
			continue
		}
		d.needed = append(d.needed, i)
		if n := a.StoredLength(); n > bodymessage.Full || small+n > partBytes {
			d.stored = append(d.stored, i)
		} else {
			small += n
		}
	}
	return nil
}

// newestOf is the generation of the newest of a revision's ancestors that the target has; what
// was attached by then it has, too. It is what atts_since means to CouchDB.
func newestOf(history rawdoc.Revisions, known []string) int64 {
	for i, hash := range history.IDs {
		generation := history.Start - int64(i)
		if slices.Contains(known, fmt.Sprintf("%d-%s", generation, hash)) {
			return generation
		}
	}
	return 0
}

// bytes is how much room a document's contents take.
func (d *heavyDoc) bytes() (n int64) {
	for _, i := range d.stored {
		n += d.meta.Attachments[i].StoredLength()
	}
	return n
}

// store fetches what documents need, once there is room for all of it, and packs them. It
// returns those of which something has vanished meanwhile.
func (f *fetch) store(ctx context.Context, docs []heavyDoc) (vanished []want, err error) {
	docs, err = f.reserve(ctx, docs)
	if err != nil {
		return nil, err
	}
	kept := false
	for _, d := range docs {
		atts, err := f.fetchNeeded(ctx, d)
		if couch.IsNotFound(err) {
			if err := f.databaseThere(ctx); err != nil {
				return nil, err
			}
			vanished = append(vanished, d.want)
			continue
		}
		if doubtful(err) {
			f.doubt(d.want, err)
			vanished = append(vanished, d.want)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("attachments of %q: %w", d.id, err)
		}
		doc, stubs, err := d.following()
		if err != nil {
			return nil, err
		}
		if len(atts) == 0 {
			err = f.packer.add(ctx, d.meta, doc, stubs)
		} else {
			err = f.packer.addMultipart(ctx, d.meta, doc, stubs, atts)
			kept = kept || len(d.stored) > 0
		}
		if err != nil {
			return nil, err
		}
	}
	if kept {
		return vanished, nil // whoever writes the part gives the room back
	}
	return vanished, f.contents.Release(ctx)
}

// reserve makes room for all contents of the documents, and returns those for which there is
// any. The largest whose contents there will never be room for together are rejected.
func (f *fetch) reserve(ctx context.Context, docs []heavyDoc) ([]heavyDoc, error) {
	for {
		var wanted []content.Wanted
		for _, d := range docs {
			for _, i := range d.stored {
				a := d.meta.Attachments[i]
				wanted = append(wanted, content.Wanted{ID: f.contentID(d, a), Length: a.StoredLength()})
			}
		}
		if len(wanted) == 0 {
			return docs, nil
		}
		err := f.contents.Reserve(ctx, wanted)
		if !errors.Is(err, content.ErrTooLarge) {
			return docs, err
		}
		largest := 0
		for i := range docs {
			if docs[i].bytes() > docs[largest].bytes() {
				largest = i
			}
		}
		d := docs[largest]
		f.packer.reject(&millracev1.Rejection{
			Id: d.id, Rev: d.rev, Status: http.StatusRequestEntityTooLarge, Error: "attachment_too_large", Attempts: 1,
			Reason: fmt.Sprintf("its attachments have %d bytes; raise --attachments-capacity (MILLRACE_ATTACHMENTS_CAPACITY) of the doc-fetcher above that: %v", d.bytes(), err),
		})
		docs = slices.Delete(docs, largest, largest+1)
	}
}

// contentID names the content of an attachment of the document.
func (f *fetch) contentID(d heavyDoc, a rawdoc.Attachment) string {
	return content.ID(f.contents.Scope(), a.Digest, a.Encoding, a.StoredLength(), d.id, d.rev, a.Name)
}

// fetchNeeded fetches the attachments that a document needs.
func (f *fetch) fetchNeeded(ctx context.Context, d heavyDoc) (atts []*millracev1.AttachmentRef, err error) {
	for _, i := range d.needed {
		a := d.meta.Attachments[i]
		ref := &millracev1.AttachmentRef{
			Name: a.Name, ContentType: a.ContentType, Encoding: a.Encoding, Length: uint64(a.StoredLength()),
		}
		if slices.Contains(d.stored, i) {
			ref.Content = f.contentID(d, a)
			ref.Md5, err = f.contents.Ensure(ctx, content.Source{
				ID: ref.Content, Length: a.StoredLength(), MD5: md5Of(a.Digest),
				Open: func(ctx context.Context, offset int64) (io.ReadCloser, error) {
					return f.openAttachment(ctx, d, a, offset)
				},
			})
		} else {
			err = f.chunks(ctx, d, a, ref)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", a.Name, err)
		}
		atts = append(atts, ref)
	}
	return atts, nil
}

// chunks fetches a small attachment into BODIES.
func (f *fetch) chunks(ctx context.Context, d heavyDoc, a rawdoc.Attachment, ref *millracev1.AttachmentRef) error {
	r, err := f.openAttachment(ctx, d, a, 0)
	if err != nil {
		return err
	}
	ref.Chunks, err = f.publishChunks(ctx, io.LimitReader(r, a.StoredLength()), a.StoredLength())
	return errors.Join(err, r.Close())
}

// following is the document with the entries of what is fetched as those of a multipart body;
// stubs says that there are others.
func (d *heavyDoc) following() (doc []byte, stubs bool, err error) {
	entries := make([]rawdoc.Attachment, len(d.needed))
	for n, i := range d.needed {
		entries[n] = d.meta.Attachments[i]
		entries[n].Stub, entries[n].Follows, entries[n].Data = false, true, nil
	}
	stubs = len(d.needed) < len(d.meta.Attachments)
	if len(entries) == 0 {
		return d.doc, stubs, nil
	}
	doc, err = rawdoc.SetAttachments(d.doc, entries)
	return doc, stubs, err
}

// md5Of is the MD5 that a digest gives; nil where it is another one's.
func md5Of(digest string) []byte {
	text, ok := strings.CutPrefix(digest, "md5-")
	if !ok {
		return nil
	}
	sum, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return sum
}

// openAttachment begins reading an attachment, in its stored encoding, at an offset. Where the
// answer is not what is stored, because something on the way decodes it, or its head cannot be
// read, because CouchDB writes types into it as they are, it is read behind its document. So it is
// without a name: what is asked for then is the document.
func (f *fetch) openAttachment(ctx context.Context, d heavyDoc, a rawdoc.Attachment, offset int64) (io.ReadCloser, error) {
	if a.Name == "" || strings.ContainsFunc(a.Name+a.ContentType, unicode.IsControl) {
		return f.openFollowing(ctx, d, a, offset)
	}
	r, err := f.db.GetAttachmentFrom(ctx, d.id, d.rev, a.Name, a.Encoding, offset)
	if err != nil {
		return nil, err
	}
	encoded := r.Encoding != "" && r.Encoding != "identity"
	if encoded == (a.Encoding != "" && a.Encoding != "identity") && (r.Length < 0 || r.Length == a.StoredLength()-offset) {
		return r, nil
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	return f.openFollowing(ctx, d, a, offset)
}

// openFollowing reads an attachment behind its document, and drops what precedes it.
func (f *fetch) openFollowing(ctx context.Context, d heavyDoc, a rawdoc.Attachment, offset int64) (_ io.ReadCloser, err error) {
	revs, err := f.db.OpenRevs(ctx, d.id, []string{d.rev}, couch.OpenRevsOptions{Revs: true, Attachments: true})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, revs.Close())
		}
	}()
	for {
		rev, err := revs.Next()
		if err != nil {
			return nil, unexpected(err)
		}
		if rev.Doc == nil || rev.Meta.Rev != d.rev {
			continue
		}
		if data := dataOf(rev.Meta, a.Name); data != nil { // in the document: a server without multipart
			r := base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data))
			if _, err := io.CopyN(io.Discard, r, offset); err != nil {
				return nil, unexpected(err)
			}
			return struct {
				io.Reader
				io.Closer
			}{r, revs}, nil
		}
		for {
			att, err := rev.NextAttachment()
			if err != nil {
				return nil, unexpected(err)
			}
			if att.Name != a.Name {
				continue
			}
			if _, err := io.CopyN(io.Discard, att, offset); err != nil {
				return nil, unexpected(err)
			}
			return struct {
				io.Reader
				io.Closer
			}{att, revs}, nil
		}
	}
}

// dataOf is the Base64 text of an attachment that stands in its document; nil where there is none.
func dataOf(m rawdoc.Meta, name string) []byte {
	for _, a := range m.Attachments {
		if a.Name == name && a.Data != nil {
			return bytes.ReplaceAll(a.Data, []byte(`\/`), []byte("/")) // as some write it in JSON
		}
	}
	return nil
}

// unexpected keeps an early end from being taken for an end.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
