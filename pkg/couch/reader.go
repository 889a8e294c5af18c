package couch

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// Reader is what filter functions learn of whom they run for, in the form of `req`.
type Reader struct {
	// UserCtx is the user that the credential is of, with the roles that the server knows.
	UserCtx json.RawMessage
	// SecObj is the database's `_security`; an empty object if it may not be read.
	SecObj json.RawMessage
}

// Reader asks the server who we are to it. A server without sessions knows nobody.
func (db *DB) Reader(ctx context.Context) (Reader, error) {
	var session struct {
		UserCtx struct {
			Name  *string  `json:"name"`
			Roles []string `json:"roles"`
		} `json:"userCtx"`
	}
	r := db.request(http.MethodGet, "")
	r.url = at(db.server.root, db.server.root.EscapedPath()+"/_session")
	if err := db.call(ctx, r, into(&session)); err != nil && !refused(err) {
		return Reader{}, err
	}
	if session.UserCtx.Roles == nil {
		session.UserCtx.Roles = []string{}
	}
	userCtx, err := json.Marshal(struct {
		DB    string   `json:"db"`
		Name  *string  `json:"name"`
		Roles []string `json:"roles"`
	}{db.name, session.UserCtx.Name, session.UserCtx.Roles})
	if err != nil {
		return Reader{}, err
	}
	reader := Reader{UserCtx: userCtx, SecObj: json.RawMessage("{}")}
	var security map[string]json.RawMessage
	err = db.call(ctx, db.request(http.MethodGet, "_security"), into(&security))
	switch {
	case err == nil:
		reader.SecObj, err = json.Marshal(security)
	case refused(err):
		err = nil
	}
	return reader, err
}

// refused says that a server does not have what was asked for, or does not give it to us.
func refused(err error) bool {
	var answer *HTTPError
	return errors.As(err, &answer) && (IsNotFound(err) || IsUnauthorized(err) || IsForbidden(err) ||
		answer.Status == http.StatusMethodNotAllowed || answer.Status == http.StatusNotImplemented)
}
