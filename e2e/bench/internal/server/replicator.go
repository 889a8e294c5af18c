package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

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
	Source     string          `json:"source"`
	Target     string          `json:"target"`
	Selector   json.RawMessage `json:"selector,omitempty"`
	Continuous bool            `json:"continuous,omitempty"`
	Cancel     bool            `json:"cancel,omitempty"`
}

// Replicate has the server replicate source to target once, or what a selector chooses of it unless
// that is nil, and returns when it is done. If ctx ends before, the replication is cancelled: a server goes
// on with it though nobody waits.
func (s *Server) Replicate(ctx context.Context, source, target *Database, selector []byte) error {
	r := replication{Source: source.URL(), Target: target.URL(), Selector: selector}
	err := s.replicate(ctx, r)
	if ctx.Err() == nil {
		return err
	}
	return errors.Join(err, s.stop(ctx, r))
}

// StartReplication has the server replicate source to target from now on.
func (s *Server) StartReplication(ctx context.Context, source, target *Database) error {
	return s.replicate(ctx, replication{Source: source.URL(), Target: target.URL(), Continuous: true})
}

// StopReplication ends what [Server.StartReplication] began, even when ctx is
// cancelled already.
func (s *Server) StopReplication(ctx context.Context, source, target *Database) error {
	return s.stop(ctx, replication{Source: source.URL(), Target: target.URL(), Continuous: true})
}

// stop cancels a replication that was started with the same request. One that
// is over meanwhile is as good as cancelled.
func (s *Server) stop(ctx context.Context, r replication) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	r.Cancel = true
	err := s.replicate(ctx, r)
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return nil
	}
	return err
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
