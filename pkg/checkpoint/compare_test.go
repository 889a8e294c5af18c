package checkpoint

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// compareCases are what CouchDB 3.5.0's own compare_replication_logs answered.
//
//go:embed testdata/compare.json
var compareCases []byte

func TestCompareAnswersAsCouchDB(t *testing.T) {
	var cases []struct {
		Name           string
		Source, Target json.RawMessage
		Seq            json.RawMessage
		History        []json.RawMessage
	}
	if err := json.Unmarshal(compareCases, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			source, target := parse(t, c.Source), parse(t, c.Target)
			seq, history := Compare(source, target)
			if string(seq) != string(c.Seq) {
				t.Errorf("seq %s, want %s", seq, c.Seq)
			}
			if source.SessionID != target.SessionID && len(history) > 0 {
				// The common session, which CouchDB leaves out.
				if string(orZero(history[0].RecordedSeq)) != string(seq) {
					t.Errorf("history begins with %+v, want the session of %s", history[0], seq)
				}
				history = history[1:]
			}
			if len(history) != len(c.History) {
				t.Fatalf("%d entries of history, want %d", len(history), len(c.History))
			}
			for i, want := range c.History {
				if got, err := history[i].MarshalJSON(); err != nil || string(got) != string(want) {
					t.Errorf("history[%d] = %s (%v), want %s", i, got, err, want)
				}
			}
		})
	}
}

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func parse(t fataler, doc []byte) *Log {
	t.Helper()
	l, err := Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMissingLogMeansFullReplication(t *testing.T) {
	one := &Log{SessionID: "a", SourceLastSeq: jsontext.Value(`"9-x"`)}
	for _, pair := range [][2]*Log{{nil, nil}, {one, nil}, {nil, one}} {
		if seq, history := Compare(pair[0], pair[1]); string(seq) != "0" || len(history) != 0 {
			t.Errorf("Compare(%v, %v) = %s, %v", pair[0], pair[1], seq, history)
		}
	}
}

// A target restored from a copy still has the session's name, at an older
// position; what was replicated since is not there.
func TestSideThatWasSetBackDecides(t *testing.T) {
	session := func(seq string) *Log {
		return &Log{
			SessionID:     "b",
			SourceLastSeq: jsontext.Value(seq),
			History: []Entry{
				{SessionID: "b", RecordedSeq: jsontext.Value(seq)},
				{SessionID: "a", RecordedSeq: jsontext.Value(`"3-x"`)},
			},
		}
	}
	for _, c := range []struct{ name, source, target, want string }{
		{"target was set back", `"12-x"`, `"9-x"`, `"9-x"`},
		{"source was set back", `"9-x"`, `"12-x"`, `"9-x"`},
		{"integers", `12`, `9`, `9`},
		{"arrays", `[12,"x"]`, `[9,"x"]`, `[9,"x"]`},
		{"numbers above 2^64", `30000000000000000000`, `20000000000000000000`, `20000000000000000000`},
		{"one side has none", `"9-x"`, `null`, `0`},
		{"which is older cannot be told", `"abc"`, `"xyz"`, `"3-x"`},
		{"same number, different sequence", `"9-a"`, `"9-b"`, `"3-x"`},
		{"not a number", `1.5`, `2.5`, `"3-x"`},
		{"same but for white space", `[9, "x"]`, `[9,"x"]`, `[9, "x"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if seq, _ := Compare(session(c.source), session(c.target)); string(seq) != c.want {
				t.Errorf("seq %s, want %s", seq, c.want)
			}
		})
	}
}

func TestHistoryIsThatOfTheSideThatDecides(t *testing.T) {
	entry := func(id, seq string) Entry { return Entry{SessionID: id, RecordedSeq: jsontext.Value(seq)} }
	source := &Log{SessionID: "b", SourceLastSeq: jsontext.Value("12"), History: []Entry{entry("b", "12")}}
	target := &Log{SessionID: "b", SourceLastSeq: jsontext.Value("9"), History: []Entry{entry("b", "9")}}
	_, history := Compare(source, target)
	if len(history) != 1 || string(history[0].RecordedSeq) != "9" {
		t.Errorf("history %+v would vouch for more than the target has", history)
	}
}

func TestStartPrefersTheCheckpointToSinceSeq(t *testing.T) {
	for _, c := range []struct{ checkpoint, since, want string }{
		{`"9-x"`, `"5-x"`, `"9-x"`},
		{`0`, `"5-x"`, `"5-x"`},
		{``, ``, `0`},
		{`null`, `null`, `0`},
		{`7`, ``, `7`},
	} {
		got := Start(jsontext.Value(c.checkpoint), jsontext.Value(c.since))
		if string(got) != c.want {
			t.Errorf("Start(%s, %s) = %s, want %s", c.checkpoint, c.since, got, c.want)
		}
	}
}

// The law of Compare: a start seq other than 0 was recorded by one side for a
// session that the other side knows too, and not later than the other did.
func TestStartSeqIsVouchedForByBothSides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source, target := drawLog(t, "source"), drawLog(t, "target")
		seq, _ := Compare(source, target)
		if string(seq) == "0" {
			return
		}
		for id, s := range recorded(t, source) {
			o, both := recorded(t, target)[id]
			if both && min(s, o) == number(t, seq) {
				return
			}
		}
		t.Fatalf("start %s of %+v and %+v", seq, source, target)
	})
}

// A session that stands in both histories is never overlooked.
func TestCommonSessionIsFoundWhereverItStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source, target := drawLog(t, "source"), drawLog(t, "target")
		shared := false
		for id := range recorded(t, source) {
			_, both := recorded(t, target)[id]
			shared = shared || both
		}
		if seq, _ := Compare(source, target); shared && string(seq) == "0" {
			t.Fatalf("start 0 although %+v and %+v share a session", source, target)
		}
	})
}

// drawLog draws some of eight sessions, newest first, each recorded at its own
// place in the feed, give or take.
func drawLog(t *rapid.T, side string) *Log {
	l := &Log{}
	for s := 8; s > 0; s-- {
		if !rapid.Bool().Draw(t, side+" has session") {
			continue
		}
		seq := s*10 + rapid.IntRange(0, 9).Draw(t, side+" recorded")
		l.History = append(l.History, Entry{
			SessionID:   fmt.Sprint("s", s),
			RecordedSeq: fmt.Appendf(nil, "%q", fmt.Sprintf("%d-x", seq)),
		})
	}
	if len(l.History) > 0 {
		l.SessionID, l.SourceLastSeq = l.History[0].SessionID, l.History[0].RecordedSeq
	}
	return l
}

func recorded(t *rapid.T, l *Log) map[string]int {
	seqs := make(map[string]int)
	for _, e := range l.History {
		seqs[e.SessionID] = number(t, e.RecordedSeq)
	}
	return seqs
}

func number(t *rapid.T, seq jsontext.Value) int {
	var n int
	if _, err := fmt.Sscanf(string(seq), `"%d-`, &n); err != nil {
		t.Fatalf("seq %s: %v", seq, err)
	}
	return n
}
