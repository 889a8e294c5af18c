package couch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/rawdoc"
)

// typeMixed is the type of an answer of many documents with what follows them.
const typeMixed = "multipart/mixed"

// OpenRevsOptions are the parameters of reading a document with open_revs.
type OpenRevsOptions struct {
	// Revs adds the revisions' ancestry (`_revisions`).
	Revs bool
	// Latest gives the leaves that descend from a revision in its place.
	Latest bool
	// Attachments asks for attachments: as following parts, where the server speaks
	// multipart, and otherwise (PouchDB) in the documents, in Base64.
	Attachments bool
	// AttEncodingInfo says of each attachment, where none is asked for, how the server stores
	// it. Servers that do not know it ignore it.
	AttEncodingInfo bool
	// AttsSince leaves out attachments that these revisions have already. It is
	// shortened to what fits into a URL, which costs no more than sending some attachments again.
	AttsSince []string
}

// OpenRevs reads an answer to open_revs, or to a [DB.BulkGetMixed], one revision at a time.
type OpenRevs struct {
	open    func(revs []string) (*http.Response, *request, error)
	rest    []string // revisions that are still to be asked for
	body    io.Closer
	request *request
	next    func() (*OpenRev, error)
	scanner rawdoc.Scanner
	err     error
}

// OpenRevs reads revisions of a document (GET id?open_revs); no revs means all
// leaves. More revisions than fit into a URL are asked for one URL after another; then
// Latest may give the same leaf twice. The caller closes the result.
func (db *DB) OpenRevs(ctx context.Context, id string, revs []string, o OpenRevsOptions) (*OpenRevs, error) {
	result := &OpenRevs{open: func(revs []string) (*http.Response, *request, error) {
		return db.openRevs(ctx, id, revs, o)
	}}
	if err := result.ask(revs); err != nil {
		return nil, err
	}
	return result, nil
}

// openRevs shortens atts_since until the server takes the URL.
func (db *DB) openRevs(ctx context.Context, id string, revs []string, o OpenRevsOptions) (*http.Response, *request, error) {
	for budget := urlBudget; ; budget /= 2 {
		r := db.openRevsRequest(id, revs, o, budget)
		resp, err := db.open(ctx, r)
		if !hasStatus(err, http.StatusRequestURITooLong) || budget/2 < minURLBudget {
			return resp, r, err
		}
	}
}

// ask requests as many of revs as fit into a URL; none means all leaves.
func (o *OpenRevs) ask(revs []string) error {
	now := revs
	if len(revs) > 0 {
		now = revs[:max(1, len(fitting(revs, urlBudget/2)))]
	}
	resp, r, err := o.open(now)
	if err != nil {
		return err
	}
	o.rest, o.body, o.request = revs[len(now):], resp.Body, r
	return o.begin(resp)
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
		if o.AttEncodingInfo {
			r.query.Set("att_encoding_info", "true")
		}
		return r
	}
	r.query.Set("attachments", "true") // for servers without multipart
	r.header.Set("Accept", typeMixed)
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

// begin chooses how to read an answer.
func (o *OpenRevs) begin(resp *http.Response) error {
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && kind == typeMixed {
		if params["boundary"] == "" {
			discard(resp.Body)
			return o.request.cut(errBoundary)
		}
		body := &tailReader{from: resp.Body}
		outer := multipart.NewReader(body, params["boundary"])
		o.next = func() (*OpenRev, error) {
			rev, err := o.part(outer)
			if err == io.EOF && !body.endsWith("--"+params["boundary"]+"--") {
				err = io.ErrUnexpectedEOF
			}
			return rev, err
		}
		return nil
	}
	dec := newDecoder(resp.Body)
	o.next = func() (*OpenRev, error) { return o.element(dec) }
	if err := expectKind(dec, '['); err != nil {
		discard(resp.Body)
		return o.request.cut(err)
	}
	return nil
}

// errBoundary is about an answer in parts that does not say what lies between them.
var errBoundary = fmt.Errorf("%w: multipart without a boundary", errShape)

// Close ends the request, whether its answer was read to the end or not.
func (o *OpenRevs) Close() error { return o.body.Close() }

// Next returns the next revision, io.EOF at the end of the answer, and a [CutError]
// if it breaks; what was returned before is valid. It ends the reading of the
// revision before, and of its attachments. Errors stay.
func (o *OpenRevs) Next() (*OpenRev, error) {
	for o.err == nil {
		rev, err := o.next()
		switch {
		case err == nil:
			return rev, nil
		case err != io.EOF:
			o.err = o.request.cut(err)
		case len(o.rest) == 0:
			o.err = io.EOF
		default:
			_ = o.body.Close() // it was read to its end
			o.err = o.ask(o.rest)
		}
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
			if err != nil {
				return nil, err
			}
			return o.missing(missing)
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
		if params["boundary"] == "" {
			return nil, errBoundary
		}
		parts := newRelated(part, params["boundary"])
		doc, err := parts.document()
		if err != nil {
			return nil, err
		}
		return o.document(doc, parts)
	}
	value, err := io.ReadAll(part)
	if err != nil {
		return nil, unexpectEOF(err)
	}
	if params["error"] == "true" {
		var said struct {
			Missing string `json:"missing"` // by open_revs
			Rev     string `json:"rev"`     // by _bulk_get
		}
		if err := json.Unmarshal(value, &said); err != nil {
			return nil, err
		}
		return o.missing(cmp.Or(said.Missing, said.Rev))
	}
	return o.document(value, nil)
}

// missing is a revision that the server does not have, and says which.
func (o *OpenRevs) missing(rev string) (*OpenRev, error) {
	if rev == "" {
		return nil, fmt.Errorf("%w: neither a document nor a missing revision", errShape)
	}
	return &OpenRev{Missing: rev, request: o.request}, nil
}

func (o *OpenRevs) document(doc []byte, following *related) (*OpenRev, error) {
	meta, err := o.scanner.Scan(doc)
	if err != nil {
		return nil, err
	}
	return &OpenRev{Doc: doc, Meta: meta, parts: following, following: meta.Following(), request: o.request}, nil
}
