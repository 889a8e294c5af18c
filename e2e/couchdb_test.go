package e2e_test

import (
	"net/http"
	"testing"

	"millrace/e2e/dataset"
	"millrace/e2e/peer"
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
