package couch

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"
)

// readFeed reads a feed to its end.
func readFeed(feed Feed) reader {
	return func(body io.Reader) (items []string, err error) {
		c := newChanges(io.NopCloser(body), fuzzed, ChangesOptions{Feed: feed})
		for {
			c.Ready()
			row, err := c.Next()
			if err == io.EOF {
				return append(items, fmt.Sprintf("end %s %d", c.LastSeq(), c.Pending())), nil
			}
			if err != nil {
				if _, again := c.Next(); again != err {
					return items, fmt.Errorf("an error that does not stay: %w, %w", err, again)
				}
				return items, err
			}
			items = append(items, fmt.Sprintf("%q %q %q %t %q", row.ID, row.Seq, row.Revs, row.Deleted, row.Doc))
		}
	}
}

func FuzzChanges(f *testing.F) {
	for _, answer := range answers(f, "changes_normal", "changes_docs", "changes_longpoll") {
		f.Add(answer, uint16(len(answer)/2))
		f.Add(answer, uint16(len(answer)-1))
	}
	f.Add([]byte(normalFeed), uint16(99))
	f.Add([]byte(`{"results":[{"id":"a","changes":[{"rev":"1-a"}]},{"id":"b","last_seq":5}],"last_seq":7}`), uint16(60))
	f.Add([]byte(`{"last_seq":0,"results":[]}`), uint16(0))
	f.Add([]byte(`{"results":[{"error":"timeout","reason":"x"}`), uint16(0))
	f.Fuzz(func(t *testing.T, answer []byte, cutAt uint16) {
		checkReading(t, answer, cutAt, readFeed(FeedNormal))
	})
}

func FuzzChangesContinuous(f *testing.F) {
	for _, answer := range answers(f, "changes_continuous", "changes_heartbeats") {
		f.Add(answer, uint16(len(answer)/2))
		f.Add(answer, uint16(len(answer)-1))
	}
	f.Add([]byte(`{"id":"a","seq":1,"changes":[]}{"last_seq":2}`), uint16(31))
	f.Add([]byte("\n\n{\"last_seq\":[3,\"x\"],\"pending\":0}"), uint16(4))
	f.Add([]byte("{\"error\":\"timeout\",\"reason\":{}}\n"), uint16(4))
	f.Fuzz(func(t *testing.T, answer []byte, cutAt uint16) {
		checkReading(t, answer, cutAt, readFeed(FeedContinuous))
	})
}

func FuzzSeq(f *testing.F) {
	for _, raw := range []string{`0`, `"5-g1AAAA"`, `[5,"g1AA"]`, ` 12 `, `null`, `-0`, `"\u0061\"\ud800"`, `{"a":[1]}`, "\"\xff\"", ``} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ParseSeq(raw)
		if err != nil {
			if json.Valid(raw) {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		out, err := s.MarshalJSON()
		if err != nil || !json.Valid(out) {
			t.Fatalf("%q comes out as %q, %v", raw, out, err)
		}
		again, err := ParseSeq(out)
		if err != nil || again != s {
			t.Errorf("%q, and again %q, %v", s, again, err)
		}
		if s.IsZero() != (s.String() == "0" && string(out) == "0") {
			t.Errorf("%q is zero: %t", s, s.IsZero())
		}
	})
}
