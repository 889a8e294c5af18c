package checkpoint

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"millrace/pkg/replication"
)

// twice is the checkpoint of the second of two sessions.
func twice(docIDs bool) *Log {
	at := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	first := Session{ID: "one", Started: at, DocIDs: docIDs}.Next(nil, []byte(`"5-x"`), replication.Stats{DocsRead: 5}, at)
	return Session{ID: "two", Started: at, StartSeq: []byte(`"5-x"`), DocIDs: docIDs}.Next(first.History, []byte(`"7-x"`), replication.Stats{DocsRead: 7}, at)
}

func TestResultIsThatOfCouchDB(t *testing.T) {
	for name, c := range map[string]struct {
		result       Result
		begins, says string
		sessions     int
	}{
		"changes": {Result{Changes: true, UseCheckpoints: true, Log: twice(false)},
			`{"ok":true,"session_id":"two","source_last_seq":"7-x","replication_id_version":4,"history":[{"session_id":"two"`, `"docs_read":7`, 2},
		"changes without checkpoints": {Result{Changes: true, Log: twice(false)}, `{"ok":true,"use_checkpoints":false}`, "", 0},
		"no changes": {Result{UseCheckpoints: true, Log: twice(false).Before("two", false)},
			`{"ok":true,"no_changes":true,"session_id":"one","source_last_seq":"5-x","replication_id_version":4,"history":[{"session_id":"one"`, `"docs_read":5`, 1},
		"no changes, and no session of its own": {Result{UseCheckpoints: true, Log: twice(false).Before("three", false)},
			`{"ok":true,"no_changes":true,"session_id":"two","source_last_seq":"7-x"`, `"docs_read":7`, 2},
		"no changes without checkpoints":  {Result{Log: twice(false).Before("three", false)}, `{"ok":true,"no_changes":true,"session_id":"two"`, "", 2},
		"no changes in an empty database": {Result{UseCheckpoints: true, Log: (&Log{}).Before("one", false)}, `{"ok":true,"no_changes":true}`, "", 0},
		"changes of doc_ids": {Result{Changes: true, UseCheckpoints: true, Log: twice(true)}, `{"ok":true,"session_id":"two"`,
			`"end_time":"Sat, 28 Nov 2026 00:00:00 GMT","docs_read":7,"docs_written":0,"doc_write_failures":0,"history":[`, 2},
		"no changes of doc_ids": {Result{UseCheckpoints: true, Log: twice(true).Before("two", true)}, `{"ok":true,"no_changes":true,"session_id":"one"`,
			`"docs_read":5,"docs_written":0,"doc_write_failures":0,"history":[`, 1},
	} {
		got, err := json.Marshal(c.result)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(got), c.begins) || !strings.Contains(string(got), c.says) ||
			strings.Count(string(got), `"recorded_seq"`) != c.sessions {
			t.Errorf("%s: %s", name, got)
		}
	}
}
