package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
	"millrace/e2e/program"
)

// eachCouchDB runs a test on every pair of real CouchDBs, as the server that replicates:
// its UUID is part of the replication's id.
func eachCouchDB(t *testing.T, test func(s scenario)) {
	for _, source := range peer.OfKind(t, peer.CouchDB) {
		for _, target := range peer.OfKind(t, peer.CouchDB) {
			pair := peer.Pair{Source: source, Target: target}
			t.Run(pair.Name(), func(t *testing.T) {
				s := between(t, pair)
				var welcome struct {
					UUID string `json:"uuid"`
				}
				ask(t, http.MethodGet, source.URL+"/", "", &welcome)
				s.uuid = welcome.UUID
				test(s)
			})
		}
	}
}

func TestCouchDBsReplicatorGoesOnWhereMillraceStopped(t *testing.T) {
	eachCouchDB(t, func(s scenario) {
		s.fill(dataset.Awkward)
		s.replicate().Completed()
		s.same()
		if theirs := couchdb(s, ""); !theirs.NoChanges {
			s.Errorf("CouchDB's replicator found changes: %+v", theirs)
		}
		edits := s.edit(s.source, "later-", 40, 1)
		theirs := couchdb(s, "")
		if len(theirs.History) < 2 || theirs.History[0].MissingChecked-theirs.History[1].MissingChecked > edits.Total() {
			s.Errorf("CouchDB's replicator after %+v: %+v", edits, theirs)
		}
		s.same()
	})
}

func TestMillraceGoesOnWhereCouchDBsReplicatorStopped(t *testing.T) {
	eachCouchDB(t, func(s scenario) {
		// Not Awkward: CouchDB's replicator waits for minutes on empty attachments.
		s.fill(dataset.Bulk(600, 300))
		s.edit(s.source, "before-", 80, 2)
		couchdb(s, "")
		if ours := s.replicate().Completed(); ours.MissingChecked != 0 || ours.DocsRead != 0 {
			s.Errorf("Millrace: %+v", ours)
		}
		edits := s.edit(s.source, "later-", 40, 1)
		if ours := s.replicate().Completed(); ours.DocsWritten == 0 || ours.MissingChecked > edits.Total() {
			s.Errorf("Millrace after %+v: %+v", edits, ours)
		}
		if theirs := couchdb(s, ""); !theirs.NoChanges {
			s.Errorf("CouchDB's replicator found changes: %+v", theirs)
		}
		s.same()
	})
}

// forget purges documents from a database.
func forget(t *testing.T, db string, ids ...string) {
	t.Helper()
	leaves := leavesOf(t, db, "all_docs")
	for _, id := range ids {
		order, err := json.Marshal(map[string][]string{id: leaves[id]})
		if err != nil {
			t.Fatal(err)
		}
		if status := ask(t, http.MethodPost, db+"/_purge", string(order), nil); status/100 != 2 {
			t.Fatalf("purge %s: %d", id, status)
		}
	}
}

// sideBySide replicates one source into two targets, one with each replicator, and compares what
// comes of it: leaf for leaf, attachment for attachment, counter for counter.
type sideBySide struct {
	scenario
	other string // CouchDB's target
}

func (s sideBySide) replicate(fields string) (ours, theirs program.Result) {
	s.Helper()
	ours = millrace(s.scenario, fields)
	byCouchDB := s.scenario
	byCouchDB.target = s.other
	theirs = couchdb(byCouchDB, fields)
	compare.Require(s.T, s.target, s.other, compare.Options{})
	if ours.NoChanges && theirs.NoChanges {
		return ours, theirs // ours may remember sessions that passed over what nobody wanted
	}
	if ours.NoChanges != theirs.NoChanges || len(ours.History) != len(theirs.History) || ours.Version != theirs.Version ||
		(ours.UseCheckpoints == nil) != (theirs.UseCheckpoints == nil) || (ours.DocsRead == nil) != (theirs.DocsRead == nil) {
		s.Errorf("%s: Millrace says %+v,\nCouchDB %+v", fields, ours, theirs)
	}
	for i := range min(len(ours.History), len(theirs.History)) {
		a, b := ours.History[i].Counters, theirs.History[i].Counters
		// How documents with attachments and design documents are asked for differs (ADR 017).
		a.BulkGetAttempts, a.BulkGetDocs, b.BulkGetAttempts, b.BulkGetDocs = 0, 0, 0, 0
		if a != b {
			s.Errorf("%s: session %d: Millrace counts %+v, CouchDB %+v", fields, i, a, b)
		}
	}
	return ours, theirs
}

// eachSideBySide runs a test on every pair of real CouchDBs.
func eachSideBySide(t *testing.T, test func(s sideBySide)) {
	eachCouchDB(t, func(s scenario) { test(sideBySide{s, s.pair.Target.NewDB(s.T)}) })
}

func TestSideBySideWithCouchDBsReplicator(t *testing.T) {
	eachSideBySide(t, func(s sideBySide) {
		s.fill(dataset.Awkward)
		// CouchDB's replicator waits for minutes on empty attachments, and crashes at names that
		// no header can hold.
		forget(s.T, s.source, "att-empty", "att-empty-text", "att-names", "att-names-of-texts", "att-types")
		s.fill(dataset.Bulk(700, 300))
		s.edit(s.source, "edited-", 150, 1)
		for _, db := range []string{s.target, s.other} {
			put(s.T, db, "/_design/refuse", `{"validate_doc_update":"function (doc) { if (/7$/.test(doc._id)) { throw({forbidden: 'no sevens'}); } }"}`)
		}
		// Both ask _revs_diff about the first batches, and then may not: one at a time.
		const options = `"worker_processes":1`
		s.replicate(options)
		s.edit(s.source, "edited-", 100, 2)
		s.replicate(options)
		ours, theirs := s.replicate(options)
		if !ours.NoChanges || !theirs.NoChanges {
			s.Errorf("Millrace says %+v, CouchDB %+v", ours, theirs)
		}
	})
}

func TestOptionsSideBySideWithCouchDBsReplicator(t *testing.T) {
	eachSideBySide(t, func(s sideBySide) {
		for i := range 60 {
			save(s.T, s.source, fmt.Sprintf("doc-%02d", i), `"v":1`)
		}
		save(s.T, s.source, "_design/foo", `"v":1`)
		attach(s.T, s.source, "attached", "att", "app/binary", data2)
		s.edit(s.source, "edited-", 60, 1)
		for _, options := range []string{
			`"doc_ids":["doc-01","missing","_design%2Ffoo","attached"]`, `"doc_ids":["missing"]`, `"doc_ids":[]`,
			`"winning_revs_only":true`, `"use_checkpoints":false,"winning_revs_only":true`, `"use_bulk_get":false`,
			`"use_checkpoints":false`, `"worker_batch_size":7,"worker_processes":2,"http_connections":2,"checkpoint_interval":100`,
		} {
			s.replicate(options)
			s.edit(s.source, "edited-", 10, uint64(2+len(options)))
			s.replicate(options)
		}
		// Of plain documents _bulk_get is asked alike.
		for i := range 30 {
			save(s.T, s.source, fmt.Sprintf("plain-%02d", i), `"v":1`)
		}
		ours, theirs := s.replicate(`"doc_ids":["` + strings.Join(plain(30), `","`) + `"]`)
		if a, b := ours.History[0].Counters, theirs.History[0].Counters; a.BulkGetAttempts != 30 || a != withBytes(b, a) {
			s.Errorf("Millrace counts %+v, CouchDB %+v", a, b)
		}
	})
}

func plain(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("plain-%02d", i))
	}
	return ids
}

// withBytes are counters with the bytes of others, which CouchDB does not count.
func withBytes(c, of program.Counters) program.Counters {
	c.BytesWritten = of.BytesWritten
	return c
}
