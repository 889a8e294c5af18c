package millpond_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/millpond"
)

// load puts documents d00, d01, ... into the database.
func (db *database) load(n int) {
	db.t.Helper()
	docs := make([]string, n)
	for i := range docs {
		docs[i] = fmt.Sprintf(`{"_id":"d%02d","_rev":"1-r","n":%d}`, i, i)
	}
	db.converse([]exchange{{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[` + strings.Join(docs, ",") + `]}`, 201, `[]`}})
}

type changeRow struct {
	Seq     json.RawMessage
	ID      string
	Changes []struct{ Rev string }
	Deleted bool
	Doc     json.RawMessage
}

func (r changeRow) revs() string {
	var revs []string
	for _, c := range r.Changes {
		revs = append(revs, c.Rev)
	}
	slices.Sort(revs)
	return strings.Join(revs, " ")
}

type changesAnswer struct {
	Results []changeRow
	LastSeq json.RawMessage `json:"last_seq"`
	Pending *int
}

func (db *database) changes(query string) changesAnswer {
	db.t.Helper()
	r := db.send("GET", "/_changes?"+query, "")
	var a changesAnswer
	if err := json.Unmarshal([]byte(r.body), &a); err != nil || r.status != 200 {
		db.t.Fatalf("_changes?%s: %d %s: %v", query, r.status, r.body, err)
	}
	return a
}

// bare is a seq as a query has it.
func bare(seq json.RawMessage) string { return url.QueryEscape(strings.Trim(string(seq), `"`)) }

func TestChangesListsEachDocumentOnce(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.load(10)
		for range 3 {
			rev := db.send("GET", "/d05", "").revOf(t)
			db.converse([]exchange{{"PUT", "/d05?rev=" + rev, `{}`, 201, ""}})
		}
		all := db.changes("")
		if len(all.Results) != 10 || *all.Pending != 0 {
			t.Errorf("%d rows, %d pending", len(all.Results), *all.Pending)
		}
		for _, row := range all.Results {
			if row.ID == "d05" && !strings.HasPrefix(row.revs(), "4-") {
				t.Errorf("row of d05: %s", row.revs())
			}
		}
		if rest := db.changes("since=" + bare(all.LastSeq)); len(rest.Results) != 0 {
			t.Errorf("%d rows after last_seq", len(rest.Results))
		}
	})
}

func TestChangesIsReadInPages(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.load(10)
		seen := make(map[string]bool)
		since := "0"
		for page := 0; len(seen) < 10 && page < 20; page++ {
			a := db.changes("limit=3&since=" + since)
			for _, row := range a.Results {
				seen[row.ID] = true
			}
			since = bare(a.LastSeq)
		}
		if len(seen) != 10 {
			t.Errorf("pages showed %d of 10 documents", len(seen))
		}
		if a := db.changes("limit=0"); len(a.Results) != 0 || *a.Pending != 10 {
			t.Errorf("limit=0: %d rows, %d pending", len(a.Results), *a.Pending)
		}
		if a := db.changes("since=now"); len(a.Results) != 0 || *a.Pending != 0 {
			t.Errorf("since=now: %d rows, %d pending", len(a.Results), *a.Pending)
		}
	})
}

func TestSeqIntervalSparesSeqs(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.load(10)
		for query, want := range map[string]string{
			"seq_interval=3&limit=5":  "..s..",
			"seq_interval=4&limit=11": "...s...s..",
			"seq_interval=5":          "s....s....",
			"seq_interval=1":          "ssssssssss",
		} {
			got := ""
			a := db.changes(query)
			for _, row := range a.Results {
				if string(row.Seq) == "null" {
					got += "."
				} else {
					got += "s"
				}
			}
			if got != want || len(a.LastSeq) < 3 {
				t.Errorf("%s: %s, want %s; last_seq %s", query, got, want, a.LastSeq)
			}
		}
	})
}

func TestChangesStyles(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_rev":"2-b","v":1},{"_id":"a","_rev":"1-z"},` +
			`{"_id":"a","_rev":"7-t","_deleted":true},{"_id":"gone","_rev":"3-g","_deleted":true,"w":1}]}`, 201, `[]`}})
		for query, want := range map[string]string{
			"":                                      "a 2-b false; gone 3-g true",
			"style=all_docs":                        "a 1-z 2-b 7-t false; gone 3-g true",
			"include_docs=true":                     `a 2-b false {"_id":"a","_rev":"2-b","v":1}; gone 3-g true {"_id":"gone","_rev":"3-g","w":1,"_deleted":true}`,
			"filter=_design":                        "",
			"doc_ids=%5B%22a%22%5D&filter=_doc_ids": "a 2-b false",
		} {
			var rows []string
			for _, row := range db.changes(query).Results {
				text := fmt.Sprintf("%s %s %t", row.ID, row.revs(), row.Deleted)
				if row.Doc != nil {
					text += " " + string(row.Doc)
				}
				rows = append(rows, text)
			}
			slices.Sort(rows)
			if got := strings.Join(rows, "; "); got != want {
				t.Errorf("%s\n got %s\nwant %s", query, got, want)
			}
		}
	})
}

func TestChangesRefusesWhatItCannotDo(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		bad := func(reason string) string { return `{"error":"bad_request","reason":"` + reason + `"}` }
		db.converse([]exchange{
			{"GET", "/_changes?since=zzz", "", 400, bad("Malformed sequence supplied in 'since' parameter.")},
			{"GET", "/_changes?feed=bogus", "", 400, bad("Supported `feed` types: normal, continuous, live, longpoll, eventsource")},
			{"GET", "/_changes?heartbeat=0", "", 400, bad("The heartbeat value should be a positive integer (in milliseconds).")},
			{"GET", "/_changes?heartbeat=x", "", 400, bad("Invalid heartbeat value. Expecting a positive integer value (in milliseconds).")},
			{"GET", "/_changes?seq_interval=0", "", 400, bad("invalid_seq_interval")},
			{"GET", "/_changes?filter=_foo", "", 400, bad("unknown builtin filter name")},
			{"GET", "/_changes?filter=foo", "", 400, bad("`filter` must be of the form `designname/filtername`")},
			{"GET", "/_changes?filter=foo/bar", "", 404, missing},
			{"POST", "/_changes?filter=_doc_ids", `{}`, 400, bad("`doc_ids` filter parameter is not a list of doc ids.")},
		})
	})
}

// follow opens a feed and returns its lines; "" is a heartbeat. The channel is
// closed at the end of the feed, or after stop.
func (db *database) follow(query string) (lines <-chan string, stop func()) {
	db.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", db.url+"/"+db.name+"/_changes?"+query, nil)
	if err != nil {
		db.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		db.t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		db.t.Fatalf("_changes?%s: %s", query, resp.Status)
	}
	out := make(chan string)
	go func() {
		defer close(out)
		defer func() { _ = resp.Body.Close() }()
		for scan := bufio.NewScanner(resp.Body); scan.Scan(); {
			select {
			case out <- scan.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, func() {
		cancel()
		for range out {
		}
	}
}

// nextRow is the next line that is not a heartbeat.
func nextRow(t *testing.T, lines <-chan string) string {
	t.Helper()
	for line := range lines {
		if line != "" {
			return line
		}
	}
	t.Fatal("the feed ended")
	return ""
}

func TestContinuousFeedFollowsWrites(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.load(1)
		lines, stop := db.follow("feed=continuous&heartbeat=5000&style=all_docs")
		defer stop()
		if row := nextRow(t, lines); !strings.Contains(row, `"id":"d00"`) {
			t.Errorf("first row %s", row)
		}
		for i := range 3 {
			db.converse([]exchange{{"PUT", fmt.Sprintf("/new%d", i), `{}`, 201, ""}})
			if row := nextRow(t, lines); !strings.Contains(row, fmt.Sprintf(`"id":"new%d"`, i)) {
				t.Errorf("row after write %d: %s", i, row)
			}
		}
	})
}

func TestQuietContinuousFeedBeats(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		lines, stop := db.follow("feed=continuous&heartbeat=20")
		defer stop()
		for range 3 {
			if line, ok := <-lines; !ok || line != "" {
				t.Fatalf("got %q (%t), want a heartbeat", line, ok)
			}
		}
	})
}

func TestContinuousFeedEndsWithLastSeq(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.load(3)
		for query, rows := range map[string]int{"timeout=10": 3, "limit=2": 2} {
			lines, stop := db.follow("feed=continuous&" + query)
			for range rows {
				nextRow(t, lines)
			}
			last := nextRow(t, lines)
			if !strings.HasPrefix(last, `{"last_seq":`) || !strings.Contains(last, `"pending":`) {
				t.Errorf("%s: last line %s", query, last)
			}
			stop()
		}
	})
}

func TestLongpollWaitsForAChange(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.load(2)
		lines, stop := db.follow("feed=longpoll&since=now&heartbeat=20")
		defer stop()
		if first := nextRow(t, lines); first != `{"results":[` {
			t.Fatalf("first line %s", first)
		}
		<-lines // a heartbeat: it is waiting
		db.converse([]exchange{{"PUT", "/late", `{}`, 201, ""}})
		if row := nextRow(t, lines); !strings.Contains(row, `"id":"late"`) {
			t.Errorf("row %s", row)
		}
		if a := db.changes("feed=longpoll"); len(a.Results) != 3 {
			t.Errorf("longpoll with changes: %d rows", len(a.Results))
		}
		if a := db.changes("feed=longpoll&since=now&timeout=10"); len(a.Results) != 0 || a.LastSeq == nil {
			t.Errorf("longpoll that timed out: %+v", a)
		}
	})
}

func TestEventSourceFeed(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.load(1)
		r := db.send("GET", "/_changes?feed=eventsource&timeout=10", "")
		if r.header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("Content-Type %s", r.header.Get("Content-Type"))
		}
		if !strings.Contains(r.body, `data: {"seq":`) || !strings.Contains(r.body, "\nid: \"1-") {
			t.Errorf("body %q", r.body)
		}
	})
}

func TestFeedEndsWithItsDatabase(t *testing.T) {
	db := serve(t, millpond.Options{}).database(t)
	lines, stop := db.follow("feed=continuous&heartbeat=20")
	defer stop()
	<-lines // a heartbeat: it is waiting
	db.converse([]exchange{{"DELETE", "", "", 200, ""}})
	if last := nextRow(t, lines); !strings.HasPrefix(last, `{"last_seq":`) {
		t.Errorf("last line %s", last)
	}
}
