package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"millrace/e2e/compare"
	"millrace/e2e/peer"
)

// leaf is a revision as replication writes it: the generation and the hash, its ancestors' hashes
// behind it, newest first.
func leaf(id string, generation int, hashes []string, members string) string {
	revisions, err := json.Marshal(map[string]any{"start": generation, "ids": hashes})
	if err != nil {
		panic(err) // of numbers and strings
	}
	return fmt.Sprintf(`{"_id":%q,"_rev":"%d-%s","_revisions":%s%s}`, id, generation, hashes[0], revisions, members)
}

// merge writes revisions into a database as they are.
func merge(t *testing.T, db string, leaves []string) {
	t.Helper()
	var rows json.RawMessage
	body := `{"new_edits":false,"docs":[` + strings.Join(leaves, ",") + `]}`
	if status := ask(t, http.MethodPost, db+"/_bulk_docs", body, &rows); status != http.StatusCreated || strings.Contains(string(rows), `"error"`) {
		t.Fatalf("_bulk_docs: %d %.300s", status, rows)
	}
}

func TestDocumentsWithHundredsOfConflictsArriveWithAndWithoutAttachments(t *testing.T) {
	eachPair(t, func(s scenario) {
		conflicts := map[string]int{"doc-10": 10, "_design/ddoc-100": 100, "doc-210": 210}
		hash := func(i, generation int) string { return fmt.Sprintf("%016x%016x", i+1, generation) }
		for id, n := range conflicts {
			var leaves []string
			for i := range n {
				leaves = append(leaves, leaf(id, 1, []string{hash(i, 1)}, fmt.Sprintf(`,"value":%d`, i)))
			}
			merge(s.T, s.source, leaves)
		}
		first := s.replicate().Completed()
		if first.MissingFound != 320 || first.DocsWritten != 320 {
			s.Errorf("summary: %+v", first.Counters)
		}
		s.same()

		for id, n := range conflicts {
			var leaves []string
			for i := range n {
				leaves = append(leaves, leaf(id, 2, []string{hash(i, 2), hash(i, 1)},
					fmt.Sprintf(`,"value":%d,"_attachments":{"att.txt":{"content_type":"text/plain","data":"bWlsbCAlMDNk"},"att.bin":{"content_type":"app/binary","data":"AAEC"}}`, i)))
			}
			merge(s.T, s.source, leaves)
		}
		second := s.replicate().Completed()
		if second.MissingFound != 320 || second.DocsWritten != 320 {
			s.Errorf("with attachments: %+v", second.Counters)
		}
		s.same()
	})
}

// limitRevs sets how many revisions of a path a database remembers; false where the server has
// no such limit.
func limitRevs(t *testing.T, db string, n int) bool {
	t.Helper()
	return ask(t, http.MethodPut, db+"/_revs_limit", fmt.Sprint(n), nil) == http.StatusOK &&
		func() bool {
			var limit int
			return ask(t, http.MethodGet, db+"/_revs_limit", "", &limit) == http.StatusOK && limit == n
		}()
}

// COUCHDB-1365: the target has forgotten the revision in which the attachment came.
func TestStubsOfForgottenRevisionsAreFetchedInFull(t *testing.T) {
	eachReplicator(t, func(s scenario, replicate replicator) {
		if !limitRevs(s.T, s.target, 3) {
			s.Skip("the target has no _revs_limit")
		}
		save(s.T, s.source, "doc1", `"value":0`)
		attach(s.T, s.source, "doc1", "doc1_att1", "application/foobar", strings.Repeat(data2, 200))
		s.counted(replicate(s, ""), 1, 1, 1, 1, 1, 0)
		s.same()
		for i := range 6 {
			var doc map[string]any
			ask(s.T, http.MethodGet, s.source+"/doc1", "", &doc)
			doc["value"] = i + 1
			text, err := json.Marshal(doc) // with its stub
			if err != nil {
				s.Fatal(err)
			}
			put(s.T, s.source, "/doc1", string(text))
		}
		s.counted(replicate(s, ""), 2, 2, 2, 2, 2, 0)
		o := compare.For(s.pair)
		o.Forgotten = true
		compare.Require(s.T, s.source, s.target, o)
	})
}

// Who edits more often between two replications than its source remembers gets a conflict that
// nobody made: an ancestor that both remember is needed to tell.
func TestMoreEditsThanAreRememberedMakeAConflict(t *testing.T) {
	const limit = 5
	eachReplicator(t, func(s scenario, replicate replicator) {
		if s.pair.Source.Kind == peer.PouchDB || !limitRevs(s.T, s.source, limit) {
			s.Skip("the source remembers everything")
		}
		edit := func(n int) (rev string) {
			for i := range n {
				rev = save(s.T, s.source, "foo", fmt.Sprintf(`"n":%d`, i))
			}
			return rev
		}
		rev := edit(limit + 1)
		replicate(s, "")
		s.leaves("foo", rev)
		rev = edit(limit - 1)
		replicate(s, "")
		s.leaves("foo", rev)
		newest := edit(limit + 1)
		replicate(s, "")
		s.leaves("foo", newest, rev)
		if w, _ := look(s.T, s.target, "foo"); w.Rev != newest {
			s.Errorf("the winner is %s", w.Rev)
		}
	})
}

func TestReplicationGoesOnWhileBothSidesAreCompacted(t *testing.T) {
	eachPair(t, func(s scenario) {
		r := s.replicate("--continuous", "--checkpoint-interval", "200ms", "--batch-size", "20")
		compact := func() {
			for _, db := range []string{s.source, s.target} {
				if status := ask(s.T, http.MethodPost, db+"/_compact", "{}", nil); status/100 != 2 {
					s.Fatalf("_compact: %d", status)
				}
			}
		}
		for round := range 4 {
			for i := range 15 {
				id := fmt.Sprintf("doc-%d-%d", round%2, i)
				save(s.T, s.source, id, fmt.Sprintf(`"round":%d`, round))
				attach(s.T, s.source, id, "att", "app/binary", strings.Repeat(data2, 50+round))
				if i%5 == 0 {
					compact()
				}
			}
			compact()
		}
		s.settled()
		if code := r.Interrupt(); code != 0 {
			s.Errorf("exit code %d after Ctrl-C", code)
		}
		for _, e := range r.Events() {
			if e.State == "crashing" {
				s.Errorf("it crashed: %s", e.Reason)
			}
		}
		compare.Require(s.T, s.source, s.target, compare.For(s.pair))
	})
}
