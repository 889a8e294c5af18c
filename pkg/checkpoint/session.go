package checkpoint

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/replication"
)

// MaxHistory is the number of sessions that a log keeps.
const MaxHistory = 50

// Session is one run of a job, as checkpoints describe it.
type Session struct {
	// ID is unique to the run: 32 hexadecimal digits in CouchDB.
	ID string
	// Started is when the run began. (CouchDB: when the job was added.)
	Started time.Time
	// StartSeq is where it began; nil means 0.
	StartSeq jsontext.Value
	// DocIDs is true for a replication by doc_ids.
	DocIDs bool
}

// Next builds the document that records that everything up to seq is done.
// History is what [Compare] returned when the session began; an entry of the
// session itself in it is replaced, so that a session has one entry however
// many checkpoints it writes. Stats are totals over all sessions; see [Totals].
// Next sets neither ID nor Rev, which differ between the two databases.
func (s Session) Next(history []Entry, seq jsontext.Value, stats replication.Stats, now time.Time) *Log {
	seq = orZero(seq)
	own := Entry{
		SessionID:    s.ID,
		StartTime:    FormatTime(s.Started),
		EndTime:      FormatTime(now),
		StartLastSeq: orZero(s.StartSeq),
		EndLastSeq:   seq,
		RecordedSeq:  seq,
		Stats:        stats,
	}
	return &Log{
		SessionID:     s.ID,
		SourceLastSeq: seq,
		Version:       IDVersion,
		DocIDs:        s.docIDs(own),
		History:       push(own, history),
	}
}

func (s Session) docIDs(own Entry) *DocIDs {
	if !s.DocIDs {
		return nil
	}
	return &DocIDs{
		StartTime:        own.StartTime,
		EndTime:          own.EndTime,
		DocsRead:         own.Stats.DocsRead,
		DocsWritten:      own.Stats.DocsWritten,
		DocWriteFailures: own.Stats.DocWriteFailures,
	}
}

// push puts own before the other sessions and drops the oldest above the limit.
func push(own Entry, history []Entry) []Entry {
	entries := make([]Entry, 1, min(len(history)+1, MaxHistory))
	entries[0] = own
	for _, e := range history {
		if len(entries) == MaxHistory {
			break
		}
		if e.SessionID != own.SessionID {
			entries = append(entries, e)
		}
	}
	return entries
}

func orZero(seq jsontext.Value) jsontext.Value {
	if isZero(seq) {
		return jsontext.Value("0")
	}
	return seq
}
