package millpond

import (
	"context"
	"errors"

	"millrace/pkg/revtree"
)

// Errors of a Store.
var (
	// ErrNoDatabase: there is no database of that name, or it was deleted.
	ErrNoDatabase = errors.New("millpond: database does not exist")
	// ErrDatabaseExists: Create met a database of that name.
	ErrDatabaseExists = errors.New("millpond: database exists")
)

// Store keeps databases by name. It knows nothing of CouchDB's rules: names are
// checked, revisions made and conflicts decided by the HTTP front. Safe for
// concurrent use.
type Store interface {
	// Create makes an empty database; ErrDatabaseExists if there is one.
	Create(ctx context.Context, name string) error
	// Open finds a database; ErrNoDatabase if there is none.
	Open(ctx context.Context, name string) (Database, error)
	// Delete removes a database and ends its feeds; ErrNoDatabase.
	Delete(ctx context.Context, name string) error
	// Names lists the databases in order.
	Names(ctx context.Context) ([]string, error)
}

// Database keeps the documents of one database and the order of their changes.
// After a Delete every method that can fails with ErrNoDatabase. Safe for
// concurrent use.
type Database interface {
	// Info describes the database now.
	Info(ctx context.Context) (Info, error)
	// Doc finds a document, deleted or not; nil if there never was one.
	Doc(ctx context.Context, id string) (*Doc, error)
	// Update changes one document atomically: edit gets its tree, empty if there
	// is none, and returns the new one, which becomes the database's newest
	// change. An empty new tree removes the document (purge). ErrUnchanged from
	// edit leaves all as it is and is not returned; any other error is returned
	// as it is. edit may be called more than once.
	Update(ctx context.Context, id string, edit func(Tree) (Tree, error)) error
	// Changes appends to dst up to limit documents in the order of their newest
	// change: those after seq, or if descending those before it (0: from the
	// end). An empty answer means that there are no more.
	Changes(ctx context.Context, seq uint64, limit int, descending bool, dst []*Doc) ([]*Doc, error)
	// Pending counts the documents whose newest change is after seq.
	Pending(ctx context.Context, seq uint64) (int, error)
	// Changed returns a channel that is closed at the first change after seq, or
	// when the database is deleted.
	Changed(seq uint64) <-chan struct{}
	// IDs returns the ids of all documents that may exist, in bytewise order. The
	// caller must not change the slice. Ids of purged documents may be among them.
	IDs(ctx context.Context) ([]string, error)
	// Compact drops the bodies of revisions that are not leaves.
	Compact(ctx context.Context) error

	// Local finds a _local document by its id without the prefix; nil if none.
	Local(ctx context.Context, id string) (*Local, error)
	// PutLocal stores a _local document, or removes it if doc is nil.
	PutLocal(ctx context.Context, id string, doc *Local) error
	// LocalIDs lists the ids of the _local documents in order.
	LocalIDs(ctx context.Context) ([]string, error)

	// Security is the security object as JSON; nil if never set.
	Security(ctx context.Context) ([]byte, error)
	// SetSecurity stores the security object.
	SetSecurity(ctx context.Context, object []byte) error
	// SetRevsLimit sets Info.RevsLimit.
	SetRevsLimit(ctx context.Context, limit int) error
}

// ErrUnchanged is returned by an edit that changes nothing.
var ErrUnchanged = errors.New("millpond: unchanged")

// Info describes a database.
type Info struct {
	// Seq is the number of the newest change; 0 in a new database.
	Seq uint64
	// Instance differs between a database and its re-creation under the same
	// name: decimal seconds since 1970, as CouchDB's instance_start_time.
	Instance string
	// Docs and Deleted count the documents whose winner is not, or is, deleted.
	Docs, Deleted int
	// RevsLimit is the length to which revision histories are cut.
	RevsLimit int
	// Bytes is about the size of the bodies and attachments ever written.
	Bytes int64
	// Purges counts the documents purged.
	Purges uint64
}

// DefaultRevsLimit is CouchDB's _revs_limit of a new database.
const DefaultRevsLimit = 1000

// Tree is a document's revisions with what is stored of each.
type Tree = revtree.Tree[*Revision]

// Node is one revision in a Tree.
type Node = revtree.Node[*Revision]

// Doc is a document at one moment. It never changes once it is in a Database.
type Doc struct {
	ID   string
	Seq  uint64 // its newest change
	Tree Tree
}

// Revision is the content of one revision. It never changes.
type Revision struct {
	// Body is the document's own members as JSON text without the braces, as
	// they were sent (invariant 7).
	Body []byte
	// Attachments in the order in which they are listed.
	Attachments []*Attachment
}

// Attachment is one attachment as stored. It never changes, and revisions share it.
type Attachment struct {
	Name        string
	ContentType string
	// Digest is "md5-" and the base64 MD5 of Data.
	Digest string
	// Encoding is "gzip" if Data is compressed, else empty.
	Encoding string
	// Length is that of the content. CouchDB does not unpack what a client sends
	// gzipped and takes the packed length for it, unless it was told.
	Length int64
	// RevPos is the generation at which the attachment was added.
	RevPos int
	Data   []byte
}

// Local is a _local document: it has no history and is not replicated.
type Local struct {
	// Rev is the N of its revision "0-N".
	Rev  int64
	Body []byte // as Revision.Body
}
