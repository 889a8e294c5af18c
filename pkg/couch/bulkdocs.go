package couch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/klauspost/compress/gzip"
)

// BulkDocsOptions are _bulk_docs' parameters.
type BulkDocsOptions struct {
	// NewEdits makes each document a new edit. Replication writes revisions as they are, without it.
	NewEdits bool
	// Gzip compresses the request.
	Gzip bool
	// Once does not repeat the request after an error.
	Once bool
}

// DocResult is the server's answer for one document of _bulk_docs.
type DocResult struct {
	ID     string `json:"id"`
	Rev    string `json:"rev"`
	Err    string `json:"error"` // empty if it was written
	Reason string `json:"reason"`
}

// UnmarshalJSON takes any reason: validation functions may throw what they like.
func (r *DocResult) UnmarshalJSON(b []byte) error {
	var said struct {
		ID     string          `json:"id"`
		Rev    string          `json:"rev"`
		Error  json.RawMessage `json:"error"`
		Reason json.RawMessage `json:"reason"`
	}
	err := json.Unmarshal(b, &said)
	*r = DocResult{ID: said.ID, Rev: said.Rev, Err: plainText(said.Error), Reason: plainText(said.Reason)}
	if said.Error != nil && r.Err == "" {
		r.Err = string(said.Error) // whatever it is, it is not a success
	}
	return err
}

// Failure is the refusal as an error for [Classify], nil if the document was written.
func (r DocResult) Failure() error {
	if r.Err == "" {
		return nil
	}
	return &DocError{ID: r.ID, Rev: r.Rev, Err: r.Err, Reason: r.Reason}
}

// BulkDocs writes documents in one request (POST _bulk_docs), byte for byte as they
// are. Without NewEdits CouchDB lists only what it refused, and each
// document must hold `_revisions` or `_rev`.
//
// A request that is refused as a whole is an [HTTPError]; where it is [PerDocument],
// some of its documents may have been written all the same. Without NewEdits the
// request is retried, because writing a revision twice does nothing.
func (db *DB) BulkDocs(ctx context.Context, docs [][]byte, o BulkDocsOptions) ([]DocResult, error) {
	r := db.request(http.MethodPost, "_bulk_docs")
	r.writes = writesDocuments
	r.once = o.NewEdits || o.Once
	// 202 is a write below the quorum; 417 is answered with a list of what was refused.
	r.expect = []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusExpectationFailed}
	if err := r.setJSON(o.Gzip, bulkDocsParts(docs, o.NewEdits)...); err != nil {
		return nil, err
	}
	var results []DocResult
	write := func() error {
		return db.call(ctx, r, func(body io.Reader) (err error) {
			results, err = readDocResults(body)
			return err
		})
	}
	before := db.server.current().present()
	err := write()
	if err != nil || o.NewEdits || !refusesWriter(results) {
		return results, err
	}
	// A database that is open to all takes the request of a session that has ended, and its
	// validation function refuses what nobody in particular writes.
	login := db.server.current()
	known, err := login.known(ctx)
	if err != nil {
		return nil, err
	}
	if !known || login.present() != before {
		err = write()
	}
	return results, err
}

// refusesWriter reports whether a document was refused in words that may be about who writes it.
func refusesWriter(results []DocResult) bool {
	return slices.ContainsFunc(results, func(r DocResult) bool { return r.Err == "unauthorized" || r.Err == "forbidden" })
}

func readDocResults(body io.Reader) (results []DocResult, err error) {
	return results, into(&results)(body)
}

// bulkDocsParts puts what belongs around and between the documents; they
// themselves are not touched (invariant 7).
func bulkDocsParts(docs [][]byte, newEdits bool) [][]byte {
	parts := make([][]byte, 0, 2*len(docs)+1)
	open := []byte(`{"new_edits":false,"docs":[`)
	if newEdits {
		open = []byte(`{"docs":[`)
	}
	comma := []byte{','}
	for i, doc := range docs {
		if i == 0 {
			parts = append(parts, open, doc)
			continue
		}
		parts = append(parts, comma, doc)
	}
	if len(docs) == 0 {
		parts = append(parts, open)
	}
	return append(parts, []byte(`]}`))
}

// setJSON makes the parts the request's body, compressed if asked. The compressed
// bytes are kept, so that the request has a length and can be sent again.
func (r *request) setJSON(compress bool, parts ...[]byte) error {
	if !compress {
		r.body = bytesBody(parts...)
		return nil
	}
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return fmt.Errorf("compress: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	r.body = bytesBody(buf.Bytes())
	r.header.Set("Content-Encoding", "gzip")
	return nil
}
