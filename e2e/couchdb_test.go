package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"millrace/e2e/dataset"
	"millrace/e2e/peer"
)

// outcome is what CouchDB's own replicator says at the end.
type outcome struct {
	OK        bool `json:"ok"`
	NoChanges bool `json:"no_changes"`
	History   []struct {
		DocsRead       int `json:"docs_read"`
		DocsWritten    int `json:"docs_written"`
		MissingChecked int `json:"missing_checked"`
	} `json:"history"`
	Reason string `json:"reason"`
}

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

// theirs replicates with the source's own replicator.
func (s scenario) theirs() outcome {
	s.Helper()
	body, err := json.Marshal(map[string]any{"source": endpoint(s.T, s.source), "target": endpoint(s.T, s.target)})
	if err != nil {
		s.Fatal(err)
	}
	var o outcome
	if status := ask(s.T, http.MethodPost, s.pair.Source.URL+"/_replicate", string(body), &o); status != http.StatusOK || !o.OK {
		s.Fatalf("CouchDB's replicator answers %d: %+v", status, o)
	}
	return o
}

// endpoint is a database as CouchDB's replicator takes it.
func endpoint(t *testing.T, address string) map[string]any {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	auth := map[string]any{"basic": map[string]any{"username": u.User.Username(), "password": password}}
	u.User = nil
	return map[string]any{"url": u.String(), "auth": auth}
}

func TestCouchDBsReplicatorGoesOnWhereMillraceStopped(t *testing.T) {
	eachCouchDB(t, func(s scenario) {
		s.fill(dataset.Awkward)
		s.replicate().Completed()
		s.same()
		if theirs := s.theirs(); !theirs.NoChanges {
			s.Errorf("CouchDB's replicator found changes: %+v", theirs)
		}
		edits := s.edit(s.source, "later-", 40, 1)
		theirs := s.theirs()
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
		s.theirs()
		if ours := s.replicate().Completed(); ours.MissingChecked != 0 || ours.DocsRead != 0 {
			s.Errorf("Millrace: %+v", ours)
		}
		edits := s.edit(s.source, "later-", 40, 1)
		if ours := s.replicate().Completed(); ours.DocsWritten == 0 || ours.MissingChecked > edits.Total() {
			s.Errorf("Millrace after %+v: %+v", edits, ours)
		}
		if theirs := s.theirs(); !theirs.NoChanges {
			s.Errorf("CouchDB's replicator found changes: %+v", theirs)
		}
		s.same()
	})
}
