package server

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ReadAttachment reads an attachment, throws it away and returns its size in
// bytes.
func (d *Database) ReadAttachment(ctx context.Context, id, name string) (int64, error) {
	return d.server.discard(ctx, http.MethodGet, "/"+d.name+"/"+url.PathEscape(id)+"/"+url.PathEscape(name), nil)
}

// PutRevision writes a revision with its history and attachments, as a
// replicator does, from a body of multipart/related.
func (d *Database) PutRevision(ctx context.Context, id, contentType string, body []byte) error {
	target := "/" + d.name + "/" + url.PathEscape(id) + "?new_edits=false"
	return d.server.callTyped(ctx, http.MethodPut, target, contentType, body, nil)
}

// Digests returns what the database holds, without the contents: for each
// document its revision and the digests of its attachments as they are stored.
func (d *Database) Digests(ctx context.Context) (map[string]string, error) {
	var answer struct {
		Rows []struct {
			ID  string `json:"id"`
			Doc struct {
				Rev         string `json:"_rev"`
				Attachments map[string]struct {
					Digest string `json:"digest"`
				} `json:"_attachments"`
			} `json:"doc"`
		} `json:"rows"`
	}
	if err := d.server.call(ctx, http.MethodGet, "/"+d.name+"/_all_docs?include_docs=true", nil, &answer); err != nil {
		return nil, err
	}
	digests := make(map[string]string, len(answer.Rows))
	for _, row := range answer.Rows {
		parts := []string{row.Doc.Rev}
		for _, name := range slices.Sorted(maps.Keys(row.Doc.Attachments)) {
			parts = append(parts, name+" "+row.Doc.Attachments[name].Digest)
		}
		digests[row.ID] = strings.Join(parts, ", ")
	}
	return digests, nil
}
