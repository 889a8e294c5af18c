package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/e2e/peer"
	"millrace/e2e/program"
)

// replicator is one that does what a replication document says, to its end. Fields are the
// document's members beside source and target. Tests that follow CouchDB's own tests run with
// both: what they expect is then known to be what CouchDB does.
type replicator func(s scenario, fields string) program.Result

// millrace replicates with Millrace, with an empty data directory: what it knows of the
// replications before it knows from the databases.
func millrace(s scenario, fields string) program.Result {
	s.Helper()
	r := program.Replicate(s.T, "--document", s.document(fields), "--uuid", s.uuid)
	if code := r.Wait(); code != program.ExitOK && code != program.ExitRejected {
		s.Fatalf("millrace replicate ended with %d", code)
	}
	return r.Summary().Result
}

// couchdb replicates with the source's own replicator.
func couchdb(s scenario, fields string) program.Result {
	s.Helper()
	var result program.Result
	body := document(endpoint(s.T, s.source), endpoint(s.T, s.target), fields)
	if status := ask(s.T, http.MethodPost, s.pair.Source.URL+"/_replicate", body, &result); status != http.StatusOK || !result.OK {
		s.Fatalf("CouchDB's replicator answers %d: %+v", status, result)
	}
	return result
}

// eachReplicator runs a test with Millrace between every pair of servers, and with CouchDB's
// own replicator where there is one.
func eachReplicator(t *testing.T, test func(s scenario, replicate replicator)) {
	for _, pair := range peer.Pairs(t) {
		t.Run(pair.Name(), func(t *testing.T) { test(between(t, pair), millrace) })
		if pair.Source.Kind == peer.CouchDB && pair.Target.Kind == peer.CouchDB {
			t.Run(pair.Name()+" by CouchDB", func(t *testing.T) { test(between(t, pair), couchdb) })
		}
	}
}

// document is a replication document with these members.
func document(source, target any, fields string) string {
	return withFields(map[string]any{"source": source, "target": target}, fields)
}

// withFields is an object with members and, as they are, fields.
func withFields(members map[string]any, fields string) string {
	text, err := json.Marshal(members)
	if err != nil {
		panic(err) // of strings
	}
	if fields == "" {
		return string(text)
	}
	return strings.TrimSuffix(string(text), "}") + "," + fields + "}"
}

// document writes a replication document with these fields beside the databases, and
// returns its file.
func (s scenario) document(fields string) string {
	s.Helper()
	file := filepath.Join(s.TempDir(), "replication.json")
	if err := os.WriteFile(file, []byte(document(s.source, s.target, fields)), 0o600); err != nil {
		s.Fatal(err)
	}
	return file
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

// counted checks the totals of a replication's last session, and how many sessions there were.
func (s scenario) counted(r program.Result, sessions, checked, found, read, written, failures int) {
	s.Helper()
	if len(r.History) != sessions {
		s.Fatalf("%d sessions, want %d: %+v", len(r.History), sessions, r)
	}
	got := r.History[0].Counters
	want := program.Counters{MissingChecked: checked, MissingFound: found, DocsRead: read, DocsWritten: written, DocWriteFailures: failures}
	got.BulkGetAttempts, got.BulkGetDocs = 0, 0 // which documents come that way is the replicator's
	if got != want {
		s.Errorf("counted %+v, want %+v", got, want)
	}
	if r.History[0].SessionID != r.SessionID || r.Version != 4 || string(r.History[0].RecordedSeq) != string(r.SourceLastSeq) {
		s.Errorf("%+v", r)
	}
}

// save writes a document over the revision that there is, and returns its new revision.
func save(t *testing.T, db, id, members string) string {
	t.Helper()
	return saveOver(t, db, id, revOf(t, db, id), members)
}

// saveOver writes a document over a revision ("": none), and returns its new one.
func saveOver(t *testing.T, db, id, rev, members string) string {
	t.Helper()
	if rev != "" {
		members = fmt.Sprintf(`"_rev":%q,%s`, rev, members)
	}
	var answer struct{ Rev, Reason string }
	if status := ask(t, http.MethodPut, db+"/"+escapeID(id), "{"+members+"}", &answer); status/100 != 2 {
		t.Fatalf("PUT %s: %d %s", id, status, answer.Reason)
	}
	return answer.Rev
}

// attach adds an attachment to a document's winning revision, or makes a document with it.
func attach(t *testing.T, db, id, name, contentType, content string) {
	t.Helper()
	address := db + "/" + escapeID(id) + "/" + name
	if rev := revOf(t, db, id); rev != "" {
		address += "?rev=" + rev
	}
	if status := send(t, http.MethodPut, address, contentType, content, nil); status/100 != 2 {
		t.Fatalf("PUT %s of %s: %d", name, id, status)
	}
}

// winner is a document of a database, in its winning revision.
type winner struct {
	Rev         string          `json:"_rev"`
	Conflicts   []string        `json:"_conflicts"`
	Value       any             `json:"value"`
	Attachments map[string]stub `json:"_attachments"`
}

// stub is what a document says of an attachment.
type stub struct {
	ContentType   string `json:"content_type"`
	Revpos        int    `json:"revpos"`
	Digest        string `json:"digest"`
	Stub          bool   `json:"stub"`
	Encoding      string `json:"encoding"`
	Length        int    `json:"length"`
	EncodedLength int    `json:"encoded_length"`
}

// look opens a document; false when it is not there.
func look(t *testing.T, db, id string) (winner, bool) {
	t.Helper()
	var w winner
	status := ask(t, http.MethodGet, db+"/"+escapeID(id)+"?conflicts=true&att_encoding_info=true", "", &w)
	if status != http.StatusOK && status != http.StatusNotFound {
		t.Fatalf("GET %s: %d", id, status)
	}
	return w, status == http.StatusOK
}

func revOf(t *testing.T, db, id string) string {
	t.Helper()
	w, _ := look(t, db, id)
	return w.Rev
}

// escapeID is an id in a path; that of a design document keeps its slash.
func escapeID(id string) string {
	if name, ok := strings.CutPrefix(id, "_design/"); ok {
		return "_design/" + url.PathEscape(name)
	}
	return url.PathEscape(id)
}
