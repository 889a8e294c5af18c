package server

import (
	"context"
	"encoding/json"
	"errors"
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

// bulkGet is the cheapest way to read documents with their history.
const bulkGet = "/_bulk_get?revs=true&latest=true"

// ReadBulk asks for the revisions named in body, a request of _bulk_get,
// throws them away and returns the size of the answer in bytes.
func (d *Database) ReadBulk(ctx context.Context, body []byte) (int64, error) {
	return d.server.discard(ctx, http.MethodPost, "/"+d.name+bulkGet, body)
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

// ErrNoReplicator says that a server has no replicator of its own.
var ErrNoReplicator = errors.New("the server has no replicator of its own")

// HasReplicator returns [ErrNoReplicator] if POST /_replicate is not there. An
// empty request is enough to learn it: a replicator complains about the
// missing fields.
func (s *Server) HasReplicator(ctx context.Context) error {
	err := s.call(ctx, http.MethodPost, "/_replicate", []byte("{}"), nil)
	var status *StatusError
	if !errors.As(err, &status) {
		return err
	}
	switch status.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return ErrNoReplicator
	case http.StatusUnauthorized, http.StatusForbidden:
		return err
	}
	return nil
}

// replication is a request of POST /_replicate.
type replication struct {
	Source     string `json:"source"`
	Target     string `json:"target"`
	Continuous bool   `json:"continuous,omitempty"`
	Cancel     bool   `json:"cancel,omitempty"`
}

// Replicate has the server replicate source to target once and returns when
// it is done.
func (s *Server) Replicate(ctx context.Context, source, target *Database) error {
	return s.replicate(ctx, replication{Source: source.URL(), Target: target.URL()})
}

// StartReplication has the server replicate source to target from now on.
func (s *Server) StartReplication(ctx context.Context, source, target *Database) error {
	return s.replicate(ctx, replication{Source: source.URL(), Target: target.URL(), Continuous: true})
}

// StopReplication ends what [Server.StartReplication] began, even when ctx is
// cancelled already.
func (s *Server) StopReplication(ctx context.Context, source, target *Database) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	return s.replicate(ctx, replication{Source: source.URL(), Target: target.URL(), Continuous: true, Cancel: true})
}

// replicate sends one request to the replicator.
func (s *Server) replicate(ctx context.Context, r replication) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var answer struct {
		OK bool `json:"ok"`
	}
	if err := s.call(ctx, http.MethodPost, "/_replicate", body, &answer); err != nil {
		return err
	}
	if !answer.OK {
		return errors.New("POST /_replicate: the answer is not ok")
	}
	return nil
}
