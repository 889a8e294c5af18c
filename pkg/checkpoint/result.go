package checkpoint

// Result is what CouchDB's POST /_replicate says of a one-shot replication that is complete,
// "ok" included. Which of its members there are depends on what there was to do:
//
//   - With changes they are those of the checkpoint that was written last.
//   - With changes and use_checkpoints false, "use_checkpoints" is all.
//   - Without changes they are "no_changes", and those of the checkpoint that was there before.
type Result struct {
	// Changes: the source listed revisions that the replication had not seen before.
	Changes bool
	// UseCheckpoints is the replication's option.
	UseCheckpoints bool
	// Log is the checkpoint that was written last, or, without changes, the one before; nil when
	// there is none.
	Log *Log
}

// MarshalJSON writes the result with CouchDB's names in CouchDB's order.
func (r Result) MarshalJSON() ([]byte, error) {
	fields := []field{{"ok", true}}
	switch {
	case !r.Changes:
		fields = append(fields, field{"no_changes", true})
	case !r.UseCheckpoints:
		return marshalObject(append(fields, field{"use_checkpoints", false}))
	}
	if r.Log != nil {
		fields = append(fields, r.Log.body()...)
	}
	return marshalObject(fields)
}

// Before is the checkpoint that was there before a session: what the session's own still tells
// of it. Nil when there was none.
func (l *Log) Before(session string, docIDs bool) *Log {
	history := l.History
	if len(history) > 0 && history[0].SessionID == session {
		history = history[1:]
	}
	if len(history) == 0 {
		return nil
	}
	last := history[0]
	return &Log{
		SessionID: last.SessionID, SourceLastSeq: last.RecordedSeq, Version: IDVersion,
		DocIDs: Session{DocIDs: docIDs}.docIDs(last), History: history,
	}
}
