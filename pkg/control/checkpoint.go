package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/checkpoint"
	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// leaseFresh is how long the answer to "is the lease still held" may be relied
// on. A process that was stopped in between asks again: the write must not
// come from an owner of the past.
const leaseFresh = time.Second

// readLog returns the checkpoint document as it stands, nil if there is none.
func readLog(ctx context.Context, db *couch.DB, id string) ([]byte, error) {
	var doc json.RawMessage
	err := db.GetLocal(ctx, id, &doc)
	if couch.IsNotFound(err) {
		return nil, missingDatabase(ctx, db, err)
	}
	return doc, err
}

// missingDatabase tells a missing document from a missing database, both of which are a 404: by the reasons
// that every server has for a document only, or else by asking.
func missingDatabase(ctx context.Context, db *couch.DB, err error) error {
	var answer *couch.HTTPError
	if errors.As(err, &answer) && answer.Err == "not_found" && (answer.Reason == "missing" || answer.Reason == "deleted") {
		return nil
	}
	_, err = db.Info(ctx)
	return err
}

// putCheckpoint writes a checkpoint if it may be written: the lease is held, the
// database is the one that the run began with, and the checkpoint that the run
// knows of is still there. (instance_start_time alone has a resolution of one second.)
func (s *Server) putCheckpoint(ctx context.Context, db *couch.DB, req *millracev1.DatabaseRequest_PutCheckpoint) (*millracev1.DatabaseReply, error) {
	next, err := checkpoint.Parse(req.Log)
	if err != nil {
		return nil, err
	}
	if req.SessionId == "" {
		reply, err := s.putFirst(ctx, db, req, next)
		if !couch.IsConflict(err) {
			return reply, err
		}
		// A server that compares revisions has one: of another writer, or of this request before.
	}
	// At once: over a distance each look is a round trip, before which a short replication stands.
	var there *checkpoint.Log
	var looks errgroup.Group
	looks.Go(func() error { return s.sameDatabase(ctx, db, req.InstanceStartTime) })
	there, err = s.expect(ctx, db, req, next.SessionID)
	if serr := looks.Wait(); serr != nil {
		return nil, serr // of two reasons, the one that CouchDB has words for
	}
	if err != nil {
		return nil, err
	}
	next.ID, next.Rev = "", there.Rev
	reply, err := s.write(ctx, db, req, next)
	if couch.IsConflict(err) {
		return &millracev1.DatabaseReply{}, s.alreadyWritten(ctx, db, req.Id, next, err)
	}
	return reply, err
}

// putFirst writes where a run begins that has seen that there is no checkpoint. Nothing is done yet that
// could be lost with another database than the run has looked at, and there is nothing to make durable.
func (s *Server) putFirst(ctx context.Context, db *couch.DB, req *millracev1.DatabaseRequest_PutCheckpoint, next *checkpoint.Log) (*millracev1.DatabaseReply, error) {
	next.ID, next.Rev = "", ""
	return s.write(ctx, db, req, next)
}

// write puts the document there, as long as the lease is held.
func (s *Server) write(ctx context.Context, db *couch.DB, req *millracev1.DatabaseRequest_PutCheckpoint, log *checkpoint.Log) (*millracev1.DatabaseReply, error) {
	for asked := time.Now(); ; asked = time.Now() {
		if err := s.holdsLease(ctx, req); err != nil {
			return nil, err
		}
		if time.Since(asked) < leaseFresh {
			break
		}
	}
	_, err := db.PutLocal(ctx, req.Id, log)
	if couch.IsUnauthorized(err) || couch.IsForbidden(err) {
		return &millracev1.DatabaseReply{ReadOnly: true}, nil
	}
	return &millracev1.DatabaseReply{}, err
}

// sameDatabase compares the database's birth with that of the run's. "0" says
// nothing: a server that cannot tell. Making the writes durable comes first, so that
// the checkpoint covers nothing that a crash of the database would take back (invariant 1).
func (s *Server) sameDatabase(ctx context.Context, db *couch.DB, want string) error {
	got, err := db.EnsureFullCommit(ctx)
	if err != nil && couch.Classify(err) != couch.Permanent {
		return err
	}
	if err != nil || got == "" { // a server without the call, or a credential that may not use it
		i, err := db.Info(ctx)
		if err != nil {
			return err
		}
		got = i.InstanceStartTime
	}
	if got == want || got == "0" || want == "0" || got == "" || want == "" {
		return nil
	}
	return s.replaced("instance_start_time on %s database has changed since last checkpoint.")
}

func (s *Server) replaced(format string) error {
	return &Error{Side: s.side, Word: ErrReplaced.Error(), Reason: fmt.Sprintf(format, s.side), Status: http.StatusConflict}
}

// expect returns the checkpoint that is there, and an error if it is neither the one that the
// run knows of nor, when an answer was lost, the run's own.
func (s *Server) expect(ctx context.Context, db *couch.DB, req *millracev1.DatabaseRequest_PutCheckpoint, session string) (*checkpoint.Log, error) {
	raw, err := readLog(ctx, db, req.Id)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		if req.SessionId != "" {
			return nil, s.replaced("the checkpoint on the %s database is gone since it was written.")
		}
		return &checkpoint.Log{}, nil
	}
	there, err := checkpoint.Parse(raw)
	if err != nil {
		return nil, err
	}
	if req.SessionId != "" && there.SessionID != req.SessionId && there.SessionID != session {
		return nil, s.replaced("the checkpoint on the %s database is another than was written.")
	}
	return there, nil
}

func (s *Server) holdsLease(ctx context.Context, req *millracev1.DatabaseRequest_PutCheckpoint) error {
	if err := s.broker.CheckLease(ctx, req.Lease, req.LeaseRevision); err != nil {
		return &Error{Side: s.side, Word: ErrNotOwner.Error(), Reason: err.Error(), Status: http.StatusConflict}
	}
	return nil
}

// alreadyWritten tells a lost answer from a conflict: what is there is what was
// to be written (CouchDB's rule).
func (s *Server) alreadyWritten(ctx context.Context, db *couch.DB, id string, want *checkpoint.Log, conflict error) error {
	raw, err := readLog(ctx, db, id)
	if err != nil {
		return err
	}
	if raw == nil {
		return conflict
	}
	got, err := checkpoint.Parse(raw)
	if err != nil {
		return err
	}
	if same, err := checkpoint.SameBody(got, want); err != nil || !same {
		return conflict
	}
	return nil
}
