package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"millrace/pkg/couch"
	"millrace/pkg/queryserver"
	millracev1 "millrace/proto/millrace/v1"
)

// getFilter reads the source of a filter function, of which the replication id is made. What
// goes wrong is filter_fetch_error, and passes as far as CouchDB is concerned: it tries again.
func getFilter(ctx context.Context, db *couch.DB, req *millracev1.DatabaseRequest_GetFilter) (*millracev1.DatabaseReply, error) {
	id := "_design/" + req.DesignDoc
	doc, err := db.Get(ctx, id, nil)
	if err != nil {
		return nil, notFetched(ctx, db, id, err)
	}
	code, err := queryserver.Source(doc, req.Name)
	var missing *queryserver.FilterError
	if errors.As(err, &missing) {
		return nil, fetchError(err, "Couldn't parse filter code from document %s on `%s`  Error: {%s,<<%q>>}",
			req.DesignDoc, db, missing.Name, missing.Reason)
	}
	var meta struct {
		Rev string `json:"_rev"`
	}
	if err := errors.Join(err, json.Unmarshal(doc, &meta)); err != nil {
		return nil, fetchError(err, "Couldn't parse filter code from document %s on `%s`  Error: %v", req.DesignDoc, db, err)
	}
	return &millracev1.DatabaseReply{Code: code, DesignDocRev: meta.Rev}, nil
}

// notFetched tells a document that is not there from a database that is not.
func notFetched(ctx context.Context, db *couch.DB, id string, err error) error {
	if couch.IsNotFound(err) {
		switch gone := missingDatabase(ctx, db, err); {
		case gone == nil:
			return fetchError(err, "Couldn't open document `%s` from source database `%s`: {error,<<\"not_found\">>}", id, db)
		case couch.IsNotFound(gone):
			return fetchError(err, "Could not open source database `%s`: {db_not_found,<<\"%s\">>}", db, db)
		default:
			err = gone
		}
	}
	return fetchError(err, "Could not open source database `%s`: %v", db, err)
}

// fetchError is an error with CouchDB's reason, which keeps what err says of a time to wait.
func fetchError(err error, reason string, args ...any) error {
	return errors.Join(&Error{Side: Source, Word: ErrFilter.Error(), Reason: fmt.Sprintf(reason, args...)}, err)
}
