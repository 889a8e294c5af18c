package couch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/rawdoc"
)

// BulkGetRequest asks for one revision of a document.
type BulkGetRequest struct {
	ID  string
	Rev string // empty for the winning revision
	// AttsSince leaves out attachments that these revisions have already.
	AttsSince []string
}

// BulkGetOptions are _bulk_get's parameters.
type BulkGetOptions struct {
	// Revs adds the revisions' ancestry (`_revisions`).
	Revs bool
	// Latest gives the leaves that descend from a revision in its place.
	Latest bool
	// Attachments puts attachments into the documents, in Base64.
	Attachments bool
	// AttEncodingInfo says of each attachment how the server stores it
	// ([rawdoc.Attachment].Encoding). Servers that do not know it ignore it.
	AttEncodingInfo bool
	// Gzip compresses the request.
	Gzip bool
}

// BulkGetItem is one document, or the lack of one, in the answer to a request.
type BulkGetItem struct {
	// Result counts the results, each of which answers one request. Servers keep
	// the requests' order, but a result may have no document, one or several (with
	// Latest): then as many items have the same Result.
	Result int
	// ID is the result's id.
	ID string
	// Doc is the document's bytes, nil if there is none. They, and what of Meta aliases
	// them, stay as they are until the next call of Next or Close only.
	Doc []byte
	// Meta is what the document says about itself; take the revision from here,
	// because Latest may answer with another than was asked for.
	Meta rawdoc.Meta
	// Err is the server's refusal. Where both it and Doc are nil, the result is empty.
	Err *DocError
}

// BulkGet asks for revisions of documents (POST _bulk_get). The caller closes the result.
func (db *DB) BulkGet(ctx context.Context, revs []BulkGetRequest, o BulkGetOptions) (*BulkGetResults, error) {
	r := db.request(http.MethodPost, "_bulk_get")
	r.query = url.Values{}
	flags := map[string]bool{
		"revs": o.Revs, "latest": o.Latest, "attachments": o.Attachments, "att_encoding_info": o.AttEncodingInfo,
	}
	for name, set := range flags {
		if set {
			r.query.Set(name, "true")
		}
	}
	if err := r.setJSON(o.Gzip, bulkGetBody(revs)); err != nil {
		return nil, err
	}
	resp, err := db.open(ctx, r)
	if err != nil {
		return nil, err
	}
	return newBulkGetResults(resp.Body, r), nil
}

func bulkGetBody(revs []BulkGetRequest) []byte {
	out := []byte(`{"docs":[`)
	for i, rev := range revs {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendString(append(out, `{"id":`...), rev.ID)
		if rev.Rev != "" {
			out = appendString(append(out, `,"rev":`...), rev.Rev)
		}
		if len(rev.AttsSince) > 0 {
			out = appendStrings(append(out, `,"atts_since":`...), rev.AttsSince)
		}
		out = append(out, '}')
	}
	return append(out, `]}`...)
}

// BulkGetResults reads an answer to _bulk_get item by item; one document is in memory at a time.
type BulkGetResults struct {
	body    io.ReadCloser
	request *request
	dec     *jsontext.Decoder
	scanner rawdoc.Scanner
	state   bulkGetState
	result  int    // the index of the current result
	id      string // its id
	items   int    // how many items of it were handed out
	err     error  // what ended the iteration
}

// bulkGetState is where in the answer the next token stands.
type bulkGetState int

const (
	beforeResults bulkGetState = iota
	inResults
	inResult
	inDocs
	inEntry
)

func newBulkGetResults(body io.ReadCloser, r *request) *BulkGetResults {
	return &BulkGetResults{body: body, request: r, dec: newDecoder(body), result: -1}
}

// Close ends the request, whether its answer was read to the end or not.
func (b *BulkGetResults) Close() error { return b.body.Close() }

// Next returns the next item, io.EOF at the end of the answer, and a [CutError] if
// it breaks; what was returned before is valid. Errors stay.
func (b *BulkGetResults) Next() (BulkGetItem, error) {
	for b.err == nil {
		item, ok, err := b.step()
		switch {
		case err == io.EOF && b.state == inResults:
			b.err = io.EOF
		case err != nil:
			b.err = b.request.cut(err)
		case ok:
			return item, nil
		}
	}
	return BulkGetItem{}, b.err
}

// step goes on to the next token that matters; ok says that it yielded an item.
func (b *BulkGetResults) step() (item BulkGetItem, ok bool, err error) {
	switch b.state {
	case beforeResults:
		return item, false, b.openResults()
	case inResults:
		return item, false, b.openResult()
	case inResult:
		return b.member()
	case inDocs:
		return item, false, b.openEntry()
	default:
		return b.entry()
	}
}

// openResults finds the array of results.
func (b *BulkGetResults) openResults() error {
	if err := expectKind(b.dec, '{'); err != nil {
		return err
	}
	for b.dec.PeekKind() == '"' {
		name, err := b.dec.ReadToken()
		if err != nil {
			return err
		}
		if name.String() == "results" {
			b.state = inResults
			return unexpectEOF(expectKind(b.dec, '['))
		}
		if err := b.dec.SkipValue(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: no results", errShape)
}

// closeResults reads from behind the last result to the end of the answer.
func (b *BulkGetResults) closeResults() error {
	if err := expectKind(b.dec, ']'); err != nil {
		return err
	}
	for b.dec.PeekKind() == '"' {
		if _, err := b.dec.ReadToken(); err != nil {
			return err
		}
		if err := b.dec.SkipValue(); err != nil {
			return err
		}
	}
	return expectKind(b.dec, '}')
}

// openResult enters the next result, or returns io.EOF behind the last.
func (b *BulkGetResults) openResult() error {
	if b.dec.PeekKind() == ']' {
		if err := b.closeResults(); err != nil {
			return unexpectEOF(err)
		}
		return io.EOF
	}
	if err := expectKind(b.dec, '{'); err != nil {
		return unexpectEOF(err)
	}
	b.state, b.id, b.items = inResult, "", 0
	b.result++
	return nil
}

// member reads a member of a result: its id, or the start of its documents. The
// end of a result that had no document is an item too.
func (b *BulkGetResults) member() (BulkGetItem, bool, error) {
	if b.dec.PeekKind() == '}' {
		b.state = inResults
		empty := b.items == 0
		return BulkGetItem{Result: b.result, ID: b.id}, empty, expectKind(b.dec, '}')
	}
	name, err := b.dec.ReadToken()
	if err != nil {
		return BulkGetItem{}, false, err
	}
	switch name.String() {
	case "id":
		id, err := b.dec.ReadValue()
		if err != nil {
			return BulkGetItem{}, false, err
		}
		b.id, err = text(id)
		return BulkGetItem{}, false, err
	case "docs":
		b.state = inDocs
		return BulkGetItem{}, false, expectKind(b.dec, '[')
	}
	return BulkGetItem{}, false, b.dec.SkipValue()
}

// openEntry enters the next entry of a result's documents: {"ok": doc} or {"error": {...}}.
func (b *BulkGetResults) openEntry() error {
	if b.dec.PeekKind() == ']' {
		b.state = inResult
		return expectKind(b.dec, ']')
	}
	b.state = inEntry
	return expectKind(b.dec, '{')
}

// entry reads a member of an entry. What stands behind it is left for the next step, because
// to read on would overwrite the document.
func (b *BulkGetResults) entry() (BulkGetItem, bool, error) {
	item := BulkGetItem{Result: b.result, ID: b.id}
	if b.dec.PeekKind() == '}' {
		b.state = inDocs
		return item, false, expectKind(b.dec, '}')
	}
	name, err := b.dec.ReadToken()
	if err != nil {
		return item, false, err
	}
	kind := name.String()
	value, err := b.dec.ReadValue()
	if err != nil {
		return item, false, err
	}
	if err := b.fill(&item, kind, value); err != nil {
		return item, false, err
	}
	filled := item.Doc != nil || item.Err != nil
	if filled {
		b.items++
	}
	return item, filled, nil
}

func (b *BulkGetResults) fill(item *BulkGetItem, kind string, value jsontext.Value) (err error) {
	switch kind {
	case "ok":
		item.Doc = value
		item.Meta, err = b.scanner.Scan(item.Doc)
	case "error":
		item.Err = &DocError{ID: b.id}
		err = json.Unmarshal(value, item.Err)
	}
	return err
}

// unexpectEOF keeps an early end from being read as the end.
func unexpectEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
