package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"millrace/pkg/ejson"
	"millrace/pkg/replication"
)

const couchDB = `{"_id":"_local/b3e44b920ee2951cb2e123b63044427a","_rev":"0-8",` +
	`"session_id":"d5a34cbbdafa70e0db5cb57d02a6b955","source_last_seq":"28-g1AAA","replication_id_version":4,` +
	`"history":[{"session_id":"d5a34cbbdafa70e0db5cb57d02a6b955","start_time":"Sun, 11 Aug 2013 20:38:50 GMT",` +
	`"end_time":"Sun, 11 Aug 2013 20:38:51 GMT","start_last_seq":0,"end_last_seq":"28-g1AAA","recorded_seq":"28-g1AAA",` +
	`"missing_checked":28,"missing_found":27,"docs_read":26,"docs_written":25,"doc_write_failures":1,` +
	`"bulk_get_docs":24,"bulk_get_attempts":23}]}`

var (
	started = time.Date(2013, 8, 11, 22, 38, 50, 999, time.FixedZone("CEST", 2*3600))
	counts  = replication.Stats{
		MissingChecked: 28, MissingFound: 27, DocsRead: 26, DocsWritten: 25, DocWriteFailures: 1,
		BulkGetDocs: 24, BulkGetAttempts: 23,
	}
)

func marshal(t fataler, l *Log) string {
	t.Helper()
	b, err := l.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParsedDocumentOfCouchDB(t *testing.T) {
	l := parse(t, []byte(couchDB))
	if l.ID != "_local/b3e44b920ee2951cb2e123b63044427a" || l.Rev != "0-8" ||
		l.SessionID != "d5a34cbbdafa70e0db5cb57d02a6b955" || string(l.SourceLastSeq) != `"28-g1AAA"` ||
		l.Version != IDVersion || l.DocIDs != nil || len(l.Unknown) != 0 || len(l.History) != 1 {
		t.Errorf("parsed %+v", l)
	}
	e := l.History[0]
	if e.SessionID != l.SessionID || e.StartTime != "Sun, 11 Aug 2013 20:38:50 GMT" || string(e.StartLastSeq) != "0" ||
		string(e.EndLastSeq) != `"28-g1AAA"` || string(e.RecordedSeq) != `"28-g1AAA"` || e.Stats != counts {
		t.Errorf("parsed history %+v", e)
	}
	if got := marshal(t, l); got != couchDB {
		t.Errorf("written again as\n%s, want\n%s", got, couchDB)
	}
}

func TestNextWritesCouchDBsDocument(t *testing.T) {
	s := Session{ID: "d5a34cbbdafa70e0db5cb57d02a6b955", Started: started}
	l := s.Next(nil, jsontext.Value(`"28-g1AAA"`), counts, started.Add(time.Second))
	l.ID, l.Rev = "_local/b3e44b920ee2951cb2e123b63044427a", "0-8"
	if got := marshal(t, l); got != couchDB {
		t.Errorf("wrote\n%s, want\n%s", got, couchDB)
	}
}

func TestDocIDsRepeatTotalsBeforeTheHistory(t *testing.T) {
	s := Session{ID: "s", Started: started, DocIDs: true}
	l := s.Next(nil, jsontext.Value("3"), counts, started)
	const want = `{"session_id":"s","source_last_seq":3,"replication_id_version":4,` +
		`"start_time":"Sun, 11 Aug 2013 20:38:50 GMT","end_time":"Sun, 11 Aug 2013 20:38:50 GMT",` +
		`"docs_read":26,"docs_written":25,"doc_write_failures":1,"history":[`
	got := marshal(t, l)
	if len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("wrote %s, want it to begin with %s", got, want)
	}
	again := parse(t, []byte(got))
	if again.DocIDs == nil || *again.DocIDs != *l.DocIDs || len(again.Unknown) != 0 {
		t.Errorf("read back %+v, unknown %v", again.DocIDs, again.Unknown)
	}
}

func TestSessionHasOneEntryHoweverOftenItWrites(t *testing.T) {
	old := []Entry{{SessionID: "old"}}
	s := Session{ID: "s", Started: started}
	first := s.Next(old, jsontext.Value("1"), counts, started)
	second := s.Next(first.History, jsontext.Value("2"), counts, started)
	if len(second.History) != 2 || string(second.History[0].RecordedSeq) != "2" || second.History[1].SessionID != "old" {
		t.Errorf("history %+v", second.History)
	}
}

func TestHistoryIsCutAtFifty(t *testing.T) {
	var history []Entry
	for i := range MaxHistory + 10 {
		s := Session{ID: fmt.Sprint(i), Started: started}
		history = s.Next(history, jsontext.Value("1"), counts, started).History
	}
	if len(history) != MaxHistory || history[0].SessionID != "59" || history[49].SessionID != "10" {
		t.Errorf("%d entries from %s to %s", len(history), history[0].SessionID, history[len(history)-1].SessionID)
	}
}

func TestForeignMembersAreKept(t *testing.T) {
	for name, doc := range map[string]string{
		"PouchDB": `{"_id":"_local/x","_rev":"0-1","session_id":"P","replication_id_version":4,` +
			`"history":[{"last_seq":7,"session_id":"P"}],"version":1,"replicator":"pouchdb","last_seq":7}`,
		"other types":           `{"session_id":7,"history":"none"}`,
		"half of doc_ids":       `{"session_id":"a","docs_read":3}`,
		"history of non-object": `{"session_id":"a","history":[1]}`,
		"long numbers":          `{"source_last_seq":123456789012345678901234567890,"x":1e400}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got := marshal(t, parse(t, []byte(doc))); !sameJSON(t, got, doc) {
				t.Errorf("written as %s, want %s", got, doc)
			}
		})
	}
}

func sameJSON(t fataler, a, b string) bool {
	t.Helper()
	raw := []jsontext.Options{jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)}
	x, y := jsontext.Value(a), jsontext.Value(b)
	if err := errors.Join(x.Canonicalize(raw...), y.Canonicalize(raw...)); err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}

func TestWhatIsNoObjectIsRefused(t *testing.T) {
	for _, doc := range []string{`[]`, `null`, `"x"`} {
		if _, err := Parse([]byte(doc)); !errors.Is(err, ejson.ErrNotAnObject) {
			t.Errorf("Parse(%s) = %v", doc, err)
		}
	}
	for _, doc := range []string{``, `{`, `{"a"}`, `{"a":1,}`, `{} {}`} {
		if _, err := Parse([]byte(doc)); err == nil {
			t.Errorf("Parse(%s) succeeded", doc)
		}
	}
}

func TestSameBodyRecognisesOurOwnWrite(t *testing.T) {
	sent := Session{ID: "s", Started: started}.Next(nil, jsontext.Value(`"3-x"`), counts, started)
	var reordered map[string]any
	if err := json.Unmarshal([]byte(marshal(t, sent)), &reordered); err != nil {
		t.Fatal(err)
	}
	reordered["_id"], reordered["_rev"] = "_local/x", "0-4"
	stored, err := json.MarshalIndent(reordered, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	check := func(doc []byte, want bool) {
		t.Helper()
		if same, err := SameBody(sent, parse(t, doc)); err != nil || same != want {
			t.Errorf("SameBody(%s) = %t, %v; want %t", doc, same, err, want)
		}
	}
	check(stored, true)
	reordered["source_last_seq"] = "4-x"
	other, _ := json.Marshal(reordered)
	check(other, false)
	reordered["source_last_seq"], reordered["extra"] = "3-x", 1
	extra, _ := json.Marshal(reordered)
	check(extra, false)
}

func TestSameBodyComparesNumbersAsWritten(t *testing.T) {
	a := parse(t, []byte(`{"source_last_seq":9007199254740993}`))
	b := parse(t, []byte(`{"source_last_seq":9007199254740992}`))
	if same, err := SameBody(a, b); same || err != nil {
		t.Errorf("SameBody = %t, %v for two numbers that are one as a float64", same, err)
	}
}

func TestTotalsGoOnFromTheNewestSession(t *testing.T) {
	history := []Entry{{Stats: replication.Stats{DocsRead: 5, DocsWritten: 4}}, {Stats: counts}}
	got := Totals(history, replication.Stats{DocsRead: 3, DocsWritten: 6})
	if want := (replication.Stats{DocsRead: 5, DocsWritten: 6}); got != want {
		t.Errorf("Totals = %+v, want %+v", got, want)
	}
	if got := Totals(nil, counts); got != counts {
		t.Errorf("Totals of no history = %+v", got)
	}
}

// Two replications in a row, on both sides, always meet at the last checkpoint
// that both wrote.
func TestCheckpointWrittenToBothSidesIsWhereTheNextRunStarts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var source, target *Log
		want := "0"
		for run := range rapid.IntRange(1, 60).Draw(t, "runs") {
			start, history := Compare(source, target)
			if string(start) != want {
				t.Fatalf("run %d starts at %s, want %s", run, start, want)
			}
			s := Session{ID: fmt.Sprint("s", run), Started: started, StartSeq: start}
			l := s.Next(history, fmt.Appendf(nil, "%d", run+1), counts, started)
			again := parse(t, []byte(marshal(t, l)))
			switch rapid.IntRange(0, 3).Draw(t, "written to") {
			case 0:
				source = again
			case 1:
				target = again
			default:
				source, target, want = again, again, string(l.SourceLastSeq)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(couchDB), uint16(200))
	f.Add([]byte(`{"history":[{"session_id":1},{}],"session_id":null}`), uint16(20))
	f.Add([]byte("{\"a\":\"\xff\",\"a\":2}"), uint16(3))
	f.Add([]byte(`{"_id":"_local/x","_rev":"0-1","session_id":"s","source_last_seq":"5-x","replication_id_version":4,"history":[{"session_id":"s","recorded_seq":"5-x","start_time":"Sun, 11 Aug 2013 20:38:50 GMT"}]}`), uint16(99))
	f.Fuzz(func(t *testing.T, doc []byte, at uint16) {
		l, err := Parse(doc)
		if err != nil {
			return
		}
		again, err := Parse([]byte(marshal(t, l)))
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		if same, err := SameBody(l, again); err != nil || !same {
			t.Fatalf("%s changed on the way (%v)", doc, err)
		}
		Compare(l, again)
		for _, e := range l.History { // sessions of others come out as they went in
			if out, err := e.MarshalJSON(); err != nil || !bytes.Contains(doc, out) {
				t.Fatalf("%s became %s, %v", doc, out, err)
			}
		}
		// A checkpoint that was cut is none: half of its history would look like all.
		if cut := bytes.TrimRight(doc, " \t\r\n"); len(cut) > 0 {
			if _, err := Parse(cut[:int(at)%len(cut)]); err == nil {
				t.Fatalf("%s is one when it is cut at %d", doc, int(at)%len(cut))
			}
		}
	})
}

func TestTargetsDocumentStandsForASourceThatIsTheSame(t *testing.T) {
	l := Session{ID: "one", Started: started}.Next(nil, []byte(`"5-x"`), counts, started)
	l.SourceInstance = "1700000000"
	read := parse(t, []byte(marshal(t, l)))
	for instance, want := range map[string]bool{"1700000000": true, "1700000001": false, "0": false, "": false} {
		if got := read.StandsForSource(instance); got != want {
			t.Errorf("for %q: %t", instance, got)
		}
	}
	read.SourceInstance = "0" // of a server that does not say
	if read.StandsForSource("0") || parse(t, []byte(couchDB)).StandsForSource("") {
		t.Error("a document that names no source stands for one")
	}
}
