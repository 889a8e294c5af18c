package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// Database is one database of a [Server].
type Database struct {
	server *Server
	name   string
}

// URL returns the database's address with the credentials in it, as a
// replicator wants it. Never print it.
func (d *Database) URL() string {
	u := d.server.URL()
	u.User = d.server.user
	return u.JoinPath(d.name).String()
}

// At returns the same database as another address of its server shows it.
func (d *Database) At(address *Server) *Database {
	return &Database{server: address, name: d.name}
}

// create makes the database with so many shards, or as many as the server likes where it is 0, even when
// ctx is cancelled meanwhile.
func (d *Database) create(ctx context.Context, shards int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	target := "/" + d.name
	if shards > 0 {
		target += fmt.Sprintf("?q=%d", shards)
	}
	return d.server.call(ctx, http.MethodPut, target, nil, nil)
}

// Drop deletes the database, even when ctx is cancelled already.
func (d *Database) Drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	return d.server.call(ctx, http.MethodDelete, "/"+d.name, nil, nil)
}

// Count returns the number of documents that are not deleted.
func (d *Database) Count(ctx context.Context) (int, error) {
	var info struct {
		DocCount int `json:"doc_count"`
	}
	err := d.server.call(ctx, http.MethodGet, "/"+d.name, nil, &info)
	return info.DocCount, err
}

// ReadChanges reads the whole feed of changes as a replicator would, with
// every leaf and a sequence for one row in interval, throws it away and
// returns its size in bytes.
func (d *Database) ReadChanges(ctx context.Context, interval int) (int64, error) {
	target := fmt.Sprintf("/%s/_changes?style=all_docs&seq_interval=%d", d.name, interval)
	return d.server.discard(ctx, http.MethodGet, target, nil)
}

// bulkGet is the cheapest way to read documents with their history, and
// bulkGetInline with their attachments, in Base64.
const (
	bulkGet       = "/_bulk_get?revs=true&latest=true"
	bulkGetInline = bulkGet + "&attachments=true"
)

// ReadBulk asks for the revisions named in body, a request of _bulk_get,
// throws them away and returns the size of the answer in bytes.
func (d *Database) ReadBulk(ctx context.Context, body []byte) (int64, error) {
	return d.server.discard(ctx, http.MethodPost, "/"+d.name+bulkGet, body)
}

// ReadBulkInline is [Database.ReadBulk] with the contents of attachments.
func (d *Database) ReadBulkInline(ctx context.Context, body []byte) (int64, error) {
	return d.server.discard(ctx, http.MethodPost, "/"+d.name+bulkGetInline, body)
}

// Read returns one revision as _bulk_get gives it out, ready for [Database.WriteBulk].
func (d *Database) Read(ctx context.Context, id, rev string) (json.RawMessage, error) {
	type request struct {
		ID  string `json:"id"`
		Rev string `json:"rev"`
	}
	body, err := json.Marshal(map[string][]request{"docs": {{ID: id, Rev: rev}}})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Results []struct {
			Docs []struct {
				OK json.RawMessage `json:"ok"`
			} `json:"docs"`
		} `json:"results"`
	}
	if err := d.server.call(ctx, http.MethodPost, "/"+d.name+bulkGet, body, &answer); err != nil {
		return nil, err
	}
	for _, result := range answer.Results {
		for _, doc := range result.Docs {
			if doc.OK != nil {
				return doc.OK, nil
			}
		}
	}
	return nil, fmt.Errorf("_bulk_get: no revision %s of %s", rev, id)
}

// WriteBulk sends body, a request of _bulk_docs, and fails if one document of
// it was refused.
func (d *Database) WriteBulk(ctx context.Context, body []byte) error {
	var results []struct {
		ID     string `json:"id"`
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}
	if err := d.server.call(ctx, http.MethodPost, "/"+d.name+"/_bulk_docs", body, &results); err != nil {
		return err
	}
	for _, r := range results {
		if r.Error != "" {
			return fmt.Errorf("_bulk_docs: %s: %s: %s", r.ID, r.Error, r.Reason)
		}
	}
	return nil
}

// Put writes a new document.
func (d *Database) Put(ctx context.Context, id string, body []byte) error {
	return d.server.call(ctx, http.MethodPut, "/"+d.name+"/"+url.PathEscape(id), body, nil)
}
