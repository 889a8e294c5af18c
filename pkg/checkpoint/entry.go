package checkpoint

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/ejson"
	"millrace/pkg/replication"
)

// Entry is one session of a log's history. An entry that was read from a
// document is written again exactly as it was, whoever wrote it.
type Entry struct {
	SessionID string
	// StartTime and EndTime in RFC 1123, GMT.
	StartTime, EndTime string
	// StartLastSeq is where the session began, EndLastSeq and RecordedSeq how
	// far it got: the same in everything that CouchDB writes. Raw JSON; nil
	// when absent.
	StartLastSeq, EndLastSeq, RecordedSeq jsontext.Value
	// Stats are totals over this session and those before it.
	Stats replication.Stats

	raw jsontext.Value // as read; nil for an entry of ours
}

// UnmarshalJSON replaces e with a history entry. Members that are missing, or
// not of CouchDB's types, count as absent; anything but an object is refused.
func (e *Entry) UnmarshalJSON(b []byte) error {
	members, err := ejson.Members(b)
	if err != nil {
		return err
	}
	*e = Entry{raw: jsontext.Value(b).Clone()}
	for _, m := range members {
		e.take(m)
	}
	return nil
}

func (e *Entry) take(m ejson.Member) {
	for _, f := range e.fields() {
		if f.name == m.Name {
			into(m.Value, f.value)
			return
		}
	}
}

// fields are the members in CouchDB's order.
func (e *Entry) fields() []field {
	return []field{
		{"session_id", &e.SessionID},
		{"start_time", &e.StartTime},
		{"end_time", &e.EndTime},
		{"start_last_seq", &e.StartLastSeq},
		{"end_last_seq", &e.EndLastSeq},
		{"recorded_seq", &e.RecordedSeq},
		{"missing_checked", &e.Stats.MissingChecked},
		{"missing_found", &e.Stats.MissingFound},
		{"docs_read", &e.Stats.DocsRead},
		{"docs_written", &e.Stats.DocsWritten},
		{"doc_write_failures", &e.Stats.DocWriteFailures},
		{"bulk_get_docs", &e.Stats.BulkGetDocs},
		{"bulk_get_attempts", &e.Stats.BulkGetAttempts},
	}
}

// MarshalJSON writes the entry.
func (e Entry) MarshalJSON() ([]byte, error) {
	if e.raw != nil {
		return e.raw, nil
	}
	return marshalObject(e.fields())
}

// FormatTime writes a time as checkpoints have it: RFC 1123 in GMT, to the
// second, such as "Sun, 11 Aug 2013 20:38:50 GMT".
func FormatTime(t time.Time) string {
	return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
}
