package couch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/rawdoc"
)

// OpenRevsOptions are the parameters of reading a document with open_revs.
type OpenRevsOptions struct {
	// Revs adds the revisions' ancestry (`_revisions`).
	Revs bool
	// Latest gives the leaves that descend from a revision in its place.
	Latest bool
	// Attachments asks for attachments: as following parts, where the server speaks
	// multipart, and otherwise (PouchDB) in the documents, in Base64.
	Attachments bool
	// AttsSince leaves out attachments that these revisions have already. It is
	// shortened to what fits into a URL, which costs no more than sending some attachments again.
	AttsSince []string
}

// OpenRev is one revision in the answer to open_revs, or the lack of one.
type OpenRev struct {
	// Doc is the document's bytes, nil if the revision is missing. They are the caller's to keep.
	Doc []byte
	// Meta is what the document says about itself. Those of its Attachments that
	// follow are read with NextAttachment.
	Meta rawdoc.Meta
	// Missing is the revision that the server does not have.
	Missing string

	parts     *multipart.Reader // nil if nothing follows
	following []rawdoc.Attachment
	request   *request
}

// FollowingAttachment is an attachment that follows its document.
type FollowingAttachment struct {
	rawdoc.Attachment
	// Reader reads StoredLength bytes, in the attachment's encoding. It fails with
	// a [CutError] if there are fewer or more.
	io.Reader
}

// NextAttachment returns the next attachment that follows the document, io.EOF
// behind the last. It ends the reading of the one before.
func (o *OpenRev) NextAttachment() (*FollowingAttachment, error) {
	if len(o.following) == 0 {
		return nil, io.EOF
	}
	if o.parts == nil {
		return nil, o.request.cut(fmt.Errorf("%w: attachments follow, but not in a multipart answer", errShape))
	}
	part, err := o.parts.NextRawPart()
	if err != nil {
		return nil, o.request.cut(err)
	}
	// Parts come in the order of the document's list. Their names are no help: CouchDB
	// writes them into headers as they are, quotes included.
	att := o.following[0]
	o.following = o.following[1:]
	return &FollowingAttachment{
		Attachment: att,
		Reader:     &exactReader{from: part, left: att.StoredLength(), fail: o.request.cut},
	}, nil
}

// OpenRevs reads an answer to open_revs, one revision at a time.
type OpenRevs struct {
	body    io.ReadCloser
	request *request
	next    func() (*OpenRev, error)
	scanner rawdoc.Scanner
	err     error
}

// OpenRevs reads revisions of a document (GET id?open_revs); no revs means all
// leaves. The caller closes the result.
func (db *DB) OpenRevs(ctx context.Context, id string, revs []string, o OpenRevsOptions) (*OpenRevs, error) {
	budget := urlBudget
	for {
		r := db.openRevsRequest(id, revs, o, budget)
		resp, err := db.open(ctx, r)
		if hasStatus(err, http.StatusRequestURITooLong) && budget > minURLBudget {
			budget /= 2
			continue
		}
		if err != nil {
			return nil, err
		}
		return newOpenRevs(resp, r)
	}
}

// urlBudget is how long open_revs and atts_since may be together, in bytes, and
// minURLBudget what atts_since is halved down to after a 414. Both are those of
// CouchDB's replicator.
const (
	urlBudget    = 7000
	minURLBudget = 200
)

func (db *DB) openRevsRequest(id string, revs []string, o OpenRevsOptions, budget int) *request {
	r := db.request(http.MethodGet, docPath(id))
	r.query = url.Values{"open_revs": {"all"}}
	if len(revs) > 0 {
		r.query.Set("open_revs", string(appendStrings(nil, revs)))
	}
	if o.Revs {
		r.query.Set("revs", "true")
	}
	if o.Latest {
		r.query.Set("latest", "true")
	}
	if !o.Attachments {
		return r
	}
	r.query.Set("attachments", "true") // for servers without multipart
	r.header.Set("Accept", "multipart/mixed")
	// Compression of the whole would be undone by net/http, but is wasted on attachments.
	r.header.Set("Accept-Encoding", "identity")
	budget -= len(r.query.Encode())
	if since := fitting(o.AttsSince, budget); len(since) > 0 {
		r.query.Set("atts_since", string(appendStrings(nil, since)))
	}
	return r
}

// fitting is the longest prefix of revs whose escaped JSON fits into so many bytes.
func fitting(revs []string, budget int) []string {
	const perRev = len(`%22%22%2C`)
	budget -= len("&atts_since=%5B%5D")
	for i, rev := range revs {
		budget -= len(rev) + perRev
		if budget < 0 {
			return revs[:i]
		}
	}
	return revs
}

func newOpenRevs(resp *http.Response, r *request) (*OpenRevs, error) {
	o := &OpenRevs{body: resp.Body, request: r}
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && kind == "multipart/mixed" {
		body := &tailReader{from: resp.Body}
		outer := multipart.NewReader(body, params["boundary"])
		o.next = func() (*OpenRev, error) {
			rev, err := o.part(outer)
			if err == io.EOF && !body.endsWith("--"+params["boundary"]+"--") {
				err = io.ErrUnexpectedEOF
			}
			return rev, err
		}
		return o, nil
	}
	dec := newDecoder(resp.Body)
	if err := expectKind(dec, '['); err != nil {
		discard(resp.Body)
		return nil, r.cut(err)
	}
	o.next = func() (*OpenRev, error) { return o.element(dec) }
	return o, nil
}

// Close ends the request, whether its answer was read to the end or not.
func (o *OpenRevs) Close() error { return o.body.Close() }

// Next returns the next revision, io.EOF at the end of the answer, and a [CutError]
// if it breaks; what was returned before is valid. It ends the reading of the
// revision before, and of its attachments. Errors stay.
func (o *OpenRevs) Next() (*OpenRev, error) {
	if o.err != nil {
		return nil, o.err
	}
	rev, err := o.next()
	switch {
	case err == io.EOF:
		o.err = io.EOF
	case err != nil:
		o.err = o.request.cut(err)
	default:
		return rev, nil
	}
	return nil, o.err
}

// element reads an entry of a JSON answer: {"ok": doc} or {"missing": rev}.
func (o *OpenRevs) element(dec *jsontext.Decoder) (*OpenRev, error) {
	if dec.PeekKind() == ']' {
		if err := expectKind(dec, ']'); err != nil {
			return nil, unexpectEOF(err)
		}
		return nil, io.EOF
	}
	value, err := dec.ReadValue()
	if err != nil {
		return nil, unexpectEOF(err)
	}
	return o.entry(value)
}

func (o *OpenRevs) entry(value []byte) (*OpenRev, error) {
	dec := newDecoder(bytes.NewBuffer(value))
	if err := expectKind(dec, '{'); err != nil {
		return nil, err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		kind := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		switch kind {
		case "ok":
			return o.document(bytes.Clone(value), nil)
		case "missing":
			missing, err := text(value)
			return &OpenRev{Missing: missing, request: o.request}, err
		}
	}
	return nil, fmt.Errorf("%w: neither a document nor a missing revision", errShape)
}

// part reads a part of a multipart answer: a document, a document with attachments,
// or a missing revision.
func (o *OpenRevs) part(outer *multipart.Reader) (*OpenRev, error) {
	part, err := outer.NextRawPart()
	if err != nil {
		return nil, err
	}
	kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("part's content type: %w", err)
	}
	if kind == "multipart/related" {
		return o.related(multipart.NewReader(part, params["boundary"]))
	}
	value, err := io.ReadAll(part)
	if err != nil {
		return nil, unexpectEOF(err)
	}
	if params["error"] == "true" {
		var said struct {
			Missing string `json:"missing"`
		}
		err := json.Unmarshal(value, &said)
		return &OpenRev{Missing: said.Missing, request: o.request}, err
	}
	return o.document(value, nil)
}

// related reads a document whose attachments follow.
func (o *OpenRevs) related(inner *multipart.Reader) (*OpenRev, error) {
	first, err := inner.NextRawPart()
	if err != nil {
		return nil, unexpectEOF(err)
	}
	doc, err := io.ReadAll(first)
	if err != nil {
		return nil, unexpectEOF(err)
	}
	return o.document(doc, inner)
}

func (o *OpenRevs) document(doc []byte, following *multipart.Reader) (*OpenRev, error) {
	meta, err := o.scanner.Scan(doc)
	if err != nil {
		return nil, err
	}
	return &OpenRev{Doc: doc, Meta: meta, parts: following, following: meta.Following(), request: o.request}, nil
}

// tailReader remembers the end of what was read. mime/multipart takes an answer that
// ends within the head of a part for one that is complete (invariant 1: a
// revision that was cut off must not look as if it did not exist).
type tailReader struct {
	from io.Reader
	tail []byte
}

// tailLength is how much is remembered, in bytes; boundaries have at most 70.
const tailLength = 128

func (t *tailReader) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	t.tail = append(t.tail, p[max(0, n-tailLength):n]...)
	t.tail = t.tail[max(0, len(t.tail)-tailLength):]
	return n, err
}

// endsWith reads what is left and reports whether the whole ends so.
func (t *tailReader) endsWith(end string) bool {
	if _, err := io.Copy(io.Discard, t); err != nil {
		return false
	}
	return bytes.HasSuffix(bytes.TrimRight(t.tail, "\r\n"), []byte(end))
}

// errTooLong is the cause of a [CutError] of an attachment that is longer than announced.
var errTooLong = errors.New("longer than announced")

// exactReader reads exactly left bytes and fails if there are fewer or more.
type exactReader struct {
	from io.Reader
	left int64
	fail func(error) error
}

func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	e.left -= int64(n)
	switch {
	case e.left < 0:
		return 0, e.fail(errTooLong)
	case err == io.EOF && e.left > 0:
		return n, e.fail(io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		return n, e.fail(err)
	}
	return n, err
}
