// Package checkpoint reads, compares and builds CouchDB's checkpoint documents:
// the _local documents on source and target that say up to where a replication
// is done. They are the truth about a job: everything else may be lost, and the
// job resumes from them (DESIGN section 4).
//
// The format is that of CouchDB 3.5 (couch_replicator_scheduler_job), so that
// either replicator continues where the other stopped. The package does no I/O.
package checkpoint

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/ejson"
	"millrace/pkg/replication"
)

// IDVersion is the version of the replication id that names the document.
const IDVersion = 4

// Prefix of the document's id; the base replication id follows. Continuous and
// one-shot jobs between the same endpoints share the document.
const Prefix = "_local/"

// Log is a checkpoint document. The zero value is the log of a database that
// has none.
type Log struct {
	// ID and Rev are the document's _id and _rev; they take no part in
	// comparisons. Empty ones are not written.
	ID, Rev string
	// SessionID is that of the run that wrote the document.
	SessionID string
	// SourceLastSeq is the source's sequence that is covered, as raw JSON: a
	// string, a number or, from BigCouch, an array. Nil when there is none.
	SourceLastSeq jsontext.Value
	// Version is the replication_id_version, 0 when there is none.
	Version int64
	// DocIDs are the additional members of a replication by doc_ids, else nil.
	DocIDs *DocIDs
	// History has the sessions, newest first.
	History []Entry
	// SourceInstance is the instance_start_time of the source that the document is about. It is
	// ours, and only in documents at targets whose source takes none; empty otherwise.
	SourceInstance string
	// Unknown has the members that are not CouchDB's, or not of the type that
	// CouchDB gives them, in the order they came in. They are written as read.
	Unknown []ejson.Member
}

// DocIDs are totals that CouchDB repeats at the top level of the document when
// the replication has doc_ids, as its versions before 1.1 did.
type DocIDs struct {
	StartTime, EndTime                      string // RFC 1123, GMT
	DocsRead, DocsWritten, DocWriteFailures int64
}

const sourceInstance = "source_instance_start_time"

// StandsForSource reports whether a target's document is also what the source would have, if it
// took one: the source, whose instance_start_time is given, is the one that it is about.
// A database that is made again within a second is taken for the old one.
func (l *Log) StandsForSource(instance string) bool {
	return l.SourceInstance != "" && l.SourceInstance == instance && instance != "0"
}

// Parse reads a checkpoint document. Documents of other replicators are
// accepted: what is not understood is kept in Unknown, and counts as absent.
// An error means that the bytes are no JSON, or it is [ejson.ErrNotAnObject].
func Parse(doc []byte) (*Log, error) {
	l := new(Log)
	if err := l.UnmarshalJSON(doc); err != nil {
		return nil, fmt.Errorf("parse checkpoint: %w", err)
	}
	return l, nil
}

// UnmarshalJSON replaces l with the document; see [Parse].
func (l *Log) UnmarshalJSON(doc []byte) error {
	members, err := ejson.Members(doc)
	if err != nil {
		return err
	}
	*l = Log{}
	var extra DocIDs
	var extras []ejson.Member
	for _, m := range members {
		switch {
		case l.take(m):
		case extra.take(m):
			extras = append(extras, m)
		default:
			l.Unknown = append(l.Unknown, m)
		}
	}
	// Half of the extras is somebody else's use of the names.
	if len(extras) == len(extra.members()) {
		l.DocIDs = &extra
		return nil
	}
	l.Unknown = append(l.Unknown, extras...)
	return nil
}

// take stores a member that has the name and the type of one of CouchDB's.
func (l *Log) take(m ejson.Member) bool {
	switch m.Name {
	case "_id":
		return into(m.Value, &l.ID)
	case "_rev":
		return into(m.Value, &l.Rev)
	case "session_id":
		return into(m.Value, &l.SessionID)
	case "source_last_seq":
		l.SourceLastSeq = m.Value
		return true
	case "replication_id_version":
		return into(m.Value, &l.Version)
	case "history":
		return l.takeHistory(m.Value)
	case sourceInstance:
		return into(m.Value, &l.SourceInstance)
	}
	return false
}

func (l *Log) takeHistory(v jsontext.Value) bool {
	var history []Entry // apart, because a failure leaves half of it
	if !into(v, &history) {
		return false
	}
	l.History = history
	return true
}

func (d *DocIDs) take(m ejson.Member) bool {
	for _, own := range d.members() {
		if own.name == m.Name {
			return into(m.Value, own.value)
		}
	}
	return false
}

func (d *DocIDs) members() []field {
	return []field{
		{"start_time", &d.StartTime},
		{"end_time", &d.EndTime},
		{"docs_read", &d.DocsRead},
		{"docs_written", &d.DocsWritten},
		{"doc_write_failures", &d.DocWriteFailures},
	}
}

// MarshalJSON writes the document with CouchDB's names in CouchDB's order.
func (l *Log) MarshalJSON() ([]byte, error) {
	var fields []field
	if l.ID != "" {
		fields = append(fields, field{"_id", l.ID})
	}
	if l.Rev != "" {
		fields = append(fields, field{"_rev", l.Rev})
	}
	return marshalObject(append(fields, l.body()...))
}

// body are the members without those of the database.
func (l *Log) body() []field {
	var fields []field
	if l.SessionID != "" {
		fields = append(fields, field{"session_id", l.SessionID})
	}
	if l.SourceLastSeq != nil {
		fields = append(fields, field{"source_last_seq", l.SourceLastSeq})
	}
	if l.Version != 0 {
		fields = append(fields, field{"replication_id_version", l.Version})
	}
	if l.DocIDs != nil {
		fields = append(fields, l.DocIDs.members()...)
	}
	if l.History != nil {
		fields = append(fields, field{"history", l.History})
	}
	if l.SourceInstance != "" {
		fields = append(fields, field{sourceInstance, l.SourceInstance})
	}
	for _, m := range l.Unknown {
		fields = append(fields, field{m.Name, m.Value})
	}
	return fields
}

// SameBody reports that both documents say the same, whatever their _id and
// _rev. After a 409, a document that has the body that was sent means that the
// write had succeeded and its answer was lost. Order of names and white space
// do not matter; numbers are compared as written.
func SameBody(a, b *Log) (bool, error) {
	x, err := a.canonical()
	if err != nil {
		return false, err
	}
	y, err := b.canonical()
	if err != nil {
		return false, err
	}
	return bytes.Equal(x, y), nil
}

func (l *Log) canonical() (jsontext.Value, error) {
	b, err := marshalObject(l.body())
	if err != nil {
		return nil, err
	}
	v := jsontext.Value(b)
	err = v.Canonicalize(append(ejson.Lenient(),
		jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))...)
	return v, err
}

// Totals are the counters that a new session goes on from: those of the first
// session in the history that [Compare] returned, raised to what memory still
// had of an earlier run. CouchDB's counters are cumulative across sessions.
func Totals(history []Entry, memory replication.Stats) replication.Stats {
	if len(history) == 0 {
		return memory
	}
	return memory.Max(history[0].Stats)
}
