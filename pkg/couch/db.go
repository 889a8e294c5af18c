package couch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"millrace/pkg/ratelimit"
)

// DB is a database. It is safe for concurrent use.
type DB struct {
	endpoint Endpoint
	opts     Options
	server   *server
	limiter  *ratelimit.Limiter
	release  func() // gives the server back
	name     string
	path     string // escaped, with the server's base path, without a slash at the end
}

// Open returns the database at ep without talking to it. The error wraps [ErrBadEndpoint].
func Open(ep Endpoint, o Options) (*DB, error) { return NewPool(o.Transport).Open(ep, o) }

func newDB(ep Endpoint, loc location, o Options, s *server, limiter *ratelimit.Limiter) *DB {
	return &DB{
		endpoint: ep,
		opts:     o,
		server:   s,
		limiter:  limiter,
		name:     loc.db,
		path:     loc.root.EscapedPath() + "/" + escape(loc.db),
	}
}

// Close gives up the database's connections. Streams that are open are their
// owners' to close. Closing twice does nothing.
func (db *DB) Close() { db.release() }

// Name is the database's name, without escapes.
func (db *DB) Name() string { return db.name }

// String is the database's URL without secrets.
func (db *DB) String() string { return db.endpoint.String() }

// Login is what databases share that one [Pool] has opened at one server, with the same credentials and
// settings: connections and a session. Values are compared with ==.
type Login struct{ server *server }

// Login returns the login that the database is used through.
func (db *DB) Login() Login { return Login{db.server} }

// LogValue implements [slog.LogValuer] without secrets.
func (db *DB) LogValue() slog.Value { return db.endpoint.LogValue() }

// at is the URL of an escaped path below the database; "" is the database itself.
func (db *DB) at(path string) *url.URL {
	escaped := db.path
	if path != "" {
		escaped += "/" + path
	}
	return db.server.at(escaped)
}

// at is the URL of an escaped path on the server.
func (s *server) at(escaped string) *url.URL { return at(s.root, escaped) }

func at(root *url.URL, escaped string) *url.URL {
	// The path was put together here, of segments escaped here.
	path, _ := url.PathUnescape(escaped)
	return &url.URL{Scheme: root.Scheme, Host: root.Host, Path: path, RawPath: escaped}
}

// Info is what a database says about itself.
type Info struct {
	Name        string `json:"db_name"`
	DocCount    int64  `json:"doc_count"`
	DocDelCount int64  `json:"doc_del_count"`
	UpdateSeq   Seq    `json:"update_seq"`
	PurgeSeq    Seq    `json:"purge_seq"`
	// InstanceStartTime tells a database from one that was created later under the
	// same name, with a resolution of one second. "0" is a server that cannot tell (CouchDB before 3.3, PouchDB).
	InstanceStartTime string `json:"instance_start_time"`
	// Sizes are in bytes; 0 is a server that does not say.
	Sizes struct {
		// External is the JSON of all documents that are not deleted, without attachments' stubs resolved.
		External int64 `json:"external"`
	} `json:"sizes"`
	Props struct {
		Partitioned bool `json:"partitioned"`
	} `json:"props"`
}

// startTime is an instance_start_time on the wire. CouchDB sends a string, PouchDB
// a string or a number.
type startTime string

// UnmarshalJSON takes a string's text, and other values as they stand.
func (s *startTime) UnmarshalJSON(b []byte) error {
	*s = startTime(plainText(b))
	return nil
}

// Info asks for the database's state. A missing database is [IsNotFound].
func (db *DB) Info(ctx context.Context) (Info, error) {
	var info Info
	err := db.call(ctx, db.request(http.MethodGet, ""), func(body io.Reader) (err error) {
		info, err = readInfo(body)
		return err
	})
	return info, err
}

func readInfo(body io.Reader) (Info, error) {
	var answer struct {
		Info
		InstanceStartTime startTime `json:"instance_start_time"` // hides the one in Info
	}
	err := into(&answer)(body)
	answer.Info.InstanceStartTime = string(answer.InstanceStartTime)
	return answer.Info, err
}

// ServerInfo is what a server says about itself at its root.
type ServerInfo struct {
	Version string `json:"version"`
	UUID    string `json:"uuid"`
	Vendor  struct {
		Name string `json:"name"`
	} `json:"vendor"`
	Features []string `json:"features"`
	// Pouch is set by PouchDB's server. It has no multipart answers and no
	// _selector filter, and stores attachments that come compressed as if they were not:
	// to such a target, attachments must go decoded.
	Pouch string `json:"express-pouchdb"`
}

// IsPouchDB reports whether the server is a PouchDB.
func (s ServerInfo) IsPouchDB() bool { return s.Pouch != "" }

// Server asks the database's server who it is.
func (db *DB) Server(ctx context.Context) (ServerInfo, error) {
	var info ServerInfo
	r := db.request(http.MethodGet, "")
	r.url = db.server.at(db.server.root.EscapedPath() + "/")
	err := db.call(ctx, r, into(&info))
	return info, err
}

// Create makes the database, with the given query parameters (q, n, partitioned).
// The error for one that is there already wraps [ErrExists].
func (db *DB) Create(ctx context.Context, params url.Values) error {
	r := db.request(http.MethodPut, "")
	r.query = params
	err := db.call(ctx, r, nil)
	if hasStatus(err, http.StatusPreconditionFailed) {
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	return err
}

// Delete removes the database. A missing one is [IsNotFound].
func (db *DB) Delete(ctx context.Context) error {
	return db.call(ctx, db.request(http.MethodDelete, ""), nil)
}

// EnsureFullCommit makes what was written durable and returns the database's
// instance_start_time. CouchDB 3 commits every write; older servers and others
// may not.
func (db *DB) EnsureFullCommit(ctx context.Context) (string, error) {
	var answer struct {
		InstanceStartTime startTime `json:"instance_start_time"`
	}
	r := db.request(http.MethodPost, "_ensure_full_commit")
	r.body = bytesBody(nil) // the server wants JSON's Content-Type
	err := db.call(ctx, r, into(&answer))
	return string(answer.InstanceStartTime), err
}

// into decodes an answer into v: an object or a list, because of those alone the end can
// be told (12 may be the beginning of 123), and null would leave v as it was.
func into(v any) func(io.Reader) error {
	return func(r io.Reader) error {
		in := bufio.NewReader(r)
		if err := opens(in); err != nil {
			return err
		}
		return json.NewDecoder(in).Decode(v)
	}
}

// opens passes over white space and fails unless an object or a list begins there.
func opens(in *bufio.Reader) error {
	for {
		next, err := in.Peek(1)
		switch {
		case err != nil:
			return err
		case next[0] == '{' || next[0] == '[':
			return nil
		case bytes.IndexByte([]byte(" \t\r\n"), next[0]) < 0:
			return fmt.Errorf("%w: neither an object nor a list", errShape)
		}
		if _, err := in.Discard(1); err != nil {
			return err
		}
	}
}
