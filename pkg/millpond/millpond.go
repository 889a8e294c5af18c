// Package millpond is a small CouchDB-protocol database server: one HTTP front
// over a Store, which is in memory unless another one is given.
//
// It serves the demo and the tests of everything that speaks to a CouchDB, so it
// is judged by CouchDB's behaviour: statuses, error words, orders and quirks are
// those of CouchDB 3.5.0, and the conformance tests of this package run against a
// real one too. What it does differently, on purpose:
//
//   - Documents are bytes (invariant 7): numbers, key order and duplicate keys
//     come out as they went in, where CouchDB re-encodes, and refuses 1e400.
//   - A database has no shards, so two readings of its changes agree.
//   - Attachments of text types are compressed as there, to the same bytes and so the
//     same digests at the default level, and at others by another compressor.
//   - Views, filter functions, _find and selectors are not there; of the functions of
//     design documents validate_doc_update is run (ADR 018).
//
// For tests it has fault injection (Server.Inject), small limits (Options) and
// counts of the requests it got (Server.Requests).
package millpond

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"millrace/pkg/couchgzip"
	"millrace/pkg/queryserver"
)

// CouchDB's own defaults for what Options leaves zero.
const (
	DefaultMaxDocumentSize = 8_000_000
	DefaultMaxRequestSize  = 4 << 30
	// DefaultCompressionLevel is of attachments.
	DefaultCompressionLevel = couchgzip.Level
	// DefaultVersion is the CouchDB release whose behaviour is kept to.
	DefaultVersion = "3.5.0"
)

// Options sets up a Server. The zero value is an open server ("admin party")
// with CouchDB's limits and an empty store in memory.
type Options struct {
	// Store keeps the databases. Default: NewMemory().
	Store Store
	// UUID is the server's id in the answer to GET /. Default: random.
	UUID string
	// Version is the CouchDB version reported. Default: DefaultVersion.
	Version string

	// AdminUser and AdminPassword are the server's administrator. Without one
	// everybody may do everything.
	AdminUser, AdminPassword string
	// Users are the other accounts, by name.
	Users map[string]Account
	// RequireValidUser refuses whoever has not logged in, whatever is asked for, as
	// CouchDB's setting does.
	RequireValidUser bool
	// SessionLife is how long a session's cookie is good. Default: DefaultSessionLife.
	SessionLife time.Duration

	// IntegerSeqs makes update sequences bare integers, as PouchDB Server has
	// them, instead of CouchDB's opaque strings.
	IntegerSeqs bool
	// SilentUpdates leaves _global_changes as it is, so that _db_updates announces nothing: CouchDB's
	// [global_changes] update_db=false. Without it each update is announced at once, where CouchDB
	// gathers for half a second, if there is a database _global_changes.
	SilentUpdates bool
	// Validate, if set, is asked before the validation functions of the design
	// documents: an error from Forbidden or Unauthorized refuses that one row.
	// newDoc is the document as a validation function sees it.
	Validate func(db, id string, newDoc []byte) error

	// MaxDocumentSize bounds a document's body in bytes, attachments aside (413
	// document_too_large). Default: DefaultMaxDocumentSize.
	MaxDocumentSize int64
	// MaxRequestSize bounds a request's body in bytes as sent (413 too_large).
	// Default: DefaultMaxRequestSize.
	MaxRequestSize int64
	// MaxAttachmentSize bounds one attachment in bytes (413
	// attachment_too_large). Default: no limit.
	MaxAttachmentSize int64
	// CompressionLevel is gzip's, from 1 to 9, for attachments of text types.
	// Default: DefaultCompressionLevel. Negative: they are stored as they come.
	CompressionLevel int
	// MaxDocumentIDLength bounds an id in bytes (400 illegal_docid). Default: no
	// limit.
	MaxDocumentIDLength int

	// Functions bounds the validation functions. Default: CouchDB's limits.
	Functions queryserver.Limits

	// Now is the clock of session cookies. Default: time.Now.
	Now func() time.Time
	// Logger gets what the server could not tell a client. Default: discarded.
	Logger *slog.Logger
}

// Server answers CouchDB's HTTP API. It is an http.Handler and has no listener
// of its own; see Listen. Create it with New, end it with Close.
type Server struct {
	opts     Options
	store    Store
	faults   faults
	requests requests
	sessions sessions
	uuids    uuids

	validators validators
	filters    *queryserver.Filters

	ctx   context.Context // done when the server is closed
	close context.CancelFunc
}

var _ http.Handler = (*Server)(nil)

// New returns a server; nothing is started.
func New(opts Options) *Server {
	if opts.Store == nil {
		opts.Store = NewMemory()
	}
	if opts.UUID == "" {
		opts.UUID = randomHex(16)
	}
	if opts.Version == "" {
		opts.Version = DefaultVersion
	}
	if opts.MaxDocumentSize == 0 {
		opts.MaxDocumentSize = DefaultMaxDocumentSize
	}
	if opts.MaxRequestSize == 0 {
		opts.MaxRequestSize = DefaultMaxRequestSize
	}
	if opts.CompressionLevel == 0 {
		opts.CompressionLevel = DefaultCompressionLevel
	}
	opts.CompressionLevel = min(opts.CompressionLevel, gzip.BestCompression)
	if opts.SessionLife == 0 {
		opts.SessionLife = DefaultSessionLife
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: opts, store: opts.Store}
	s.sessions.secret = []byte(randomHex(32))
	s.uuids.prefix = randomHex(13)
	s.validators.limits = opts.Functions
	s.filters = queryserver.NewFilters(queryserver.Options{Limits: opts.Functions})
	s.ctx, s.close = context.WithCancel(context.Background())
	return s
}

// Close ends the changes feeds that wait for a change, with their last line. It
// does not wait for their handlers: that is for the http.Server that runs them.
// Feeds that begin later end as soon as they would wait. The store stays open.
func (s *Server) Close() {
	s.close()
	s.validators.close()
	s.filters.Close()
}

// randomHex returns n random bytes in hex.
func randomHex(n int) string {
	buf := make([]byte, n)
	_, _ = rand.Read(buf) // never fails, by its contract
	return hex.EncodeToString(buf)
}
