package writer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// dialects remembers which targets know of no stored encodings. The zero value is
// ready; it is safe for concurrent use.
type dialects struct {
	mu    sync.Mutex
	plain map[string]bool // by endpoint
}

// server is what of a couch.DB says who its server is.
type server interface {
	Server(ctx context.Context) (couch.ServerInfo, error)
}

// plainOnly reports whether attachments have to be decoded for the target:
// PouchDB's server stores a gzipped one as if its bytes were the content. The
// target is asked once. One that does not let itself be asked is no PouchDB.
func (d *dialects) plainOnly(ctx context.Context, ref *millracev1.EndpointRef, db server) (bool, error) {
	if plain, known := d.known(ref.GetId()); known {
		return plain, nil
	}
	info, err := db.Server(ctx)
	if err != nil && !refuses(err) {
		return false, fmt.Errorf("ask the target who it is: %w", err)
	}
	plain := err == nil && info.IsPouchDB()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.plain == nil {
		d.plain = make(map[string]bool)
	}
	d.plain[ref.GetId()] = plain
	return plain, nil
}

func (d *dialects) known(id string) (plain, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	plain, known = d.plain[id]
	return plain, known
}

// refuses reports whether the server has answered, and not with what was asked for:
// a proxy may let only databases through.
func refuses(err error) bool {
	var answer *couch.HTTPError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return true
	}
	return false
}
