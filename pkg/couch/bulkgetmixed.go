package couch

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
)

// ErrNoMultipart says that a server answers with JSON where it was asked for multipart:
// what follows documents there would come inside of them, in Base64.
var ErrNoMultipart = errors.New("the server sends no multipart answers to _bulk_get")

// BulkGetMixed asks for revisions of documents with their ancestry and their attachments
// (POST _bulk_get, Accept: multipart/mixed), of which those that AttsSince does not leave out
// follow their documents as the server stores them. It answers with the leaves that descend
// from a revision in its place. The caller closes the result.
//
// The answer does not say which request a revision belongs to, and of a revision that the
// server does not have it has no document: what does not come has to be asked for otherwise.
// The error is [ErrNoMultipart] where the server does not know this form (PouchDB).
func (db *DB) BulkGetMixed(ctx context.Context, revs []BulkGetRequest) (*OpenRevs, error) {
	r := db.request(http.MethodPost, "_bulk_get")
	r.query = url.Values{"revs": {"true"}, "latest": {"true"}}
	r.header.Set("Accept", typeMixed)
	// Compression of the whole would be undone by net/http, but is wasted on attachments.
	r.header.Set("Accept-Encoding", "identity")
	if err := r.setJSON(false, bulkGetBody(revs)); err != nil {
		return nil, err
	}
	resp, err := db.open(ctx, r)
	if err != nil {
		return nil, err
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != typeMixed {
		discard(resp.Body)
		return nil, ErrNoMultipart
	}
	result := &OpenRevs{body: resp.Body, request: r}
	return result, result.begin(resp)
}
