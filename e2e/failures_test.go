package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// failure is a line of millrace failures --json, of any of its commands.
type failure struct {
	Type          string          `json:"type"`
	Job           string          `json:"job"`
	ReplicationID string          `json:"replication_id"`
	State         string          `json:"state"`
	Failures      int             `json:"failures"`
	ID            string          `json:"id"`
	Rev           string          `json:"rev"`
	Status        int             `json:"status"`
	Error         string          `json:"error"`
	Reason        string          `json:"reason"`
	Attempts      int             `json:"attempts"`
	Doc           json.RawMessage `json:"doc"`
	Outcome       string          `json:"outcome"`
	Written       int             `json:"written"`
	Refused       int             `json:"refused"`
	Discarded     int             `json:"discarded"`
}

// failures runs the command and returns its lines.
func failures(t *testing.T, code int, args ...string) []failure {
	t.Helper()
	p := program.Start(t, program.Millrace, append([]string{"failures", "--json"}, args...))
	if got := p.Wait(); got != code {
		t.Fatalf("millrace failures %v ended with %d instead of %d:\n%s%s", args, got, code, p.Stdout, p.Stderr)
	}
	var all []failure
	for _, line := range p.Stdout.Lines() {
		var f failure
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("millrace failures --json printed %q: %v", line, err)
		}
		all = append(all, f)
	}
	return all
}

// mended is a scenario whose target refuses ids that end in 7 until it is told otherwise.
func mended(t *testing.T) (s scenario, mend func()) {
	var done atomic.Bool
	_, target := pond(t, millpond.Options{Validate: func(_, id string, _ []byte) error {
		if strings.HasSuffix(id, "7") && !done.Load() {
			return millpond.Forbidden("no sevens")
		}
		return nil
	}})
	s = onMillponds(t)
	s.target = target + "/refusing"
	return s, func() { done.Store(true) }
}

func TestFailuresOfACompletedReplicationAreListedShownExportedAndReplayed(t *testing.T) {
	s, mend := mended(t)
	s.fill(dataset.Bulk(100, 300))
	data := t.TempDir()
	at := []string{"--data", data}
	summary := s.replicate("--create-target", "--data", data).Exited(program.ExitRejected)

	jobs := failures(t, 0, at...)
	if len(jobs) != 1 || jobs[0].Failures != 10 || jobs[0].State != "completed" || jobs[0].ReplicationID == "" {
		t.Fatalf("jobs: %+v", jobs)
	}
	id := jobs[0].ReplicationID
	if want := "millrace failures --data " + data + " " + id; summary.Failures != want {
		t.Errorf("the summary says %q, expected %q", summary.Failures, want)
	}
	for _, name := range []string{id, id[:8], jobs[0].Job, jobs[0].Job[:8]} {
		if all := failures(t, 0, append(at, name)...); len(all) != 10 || all[0].Status != http.StatusForbidden || all[0].Error != "forbidden" || all[0].Reason != "no sevens" || all[0].Attempts != 1 {
			t.Errorf("%s: %+v", name, all)
		}
	}
	if none := failures(t, program.ExitFailed, append(at, "nobody")...); len(none) != 0 {
		t.Errorf("of no job: %+v", none)
	}
	exported := failures(t, 0, append(at, "export", id)...)
	for _, f := range exported {
		if !strings.Contains(string(f.Doc), `"_rev":"`+f.Rev+`"`) {
			t.Errorf("exported %+v", f)
		}
	}
	one := exported[3]
	if shown := failures(t, 0, append(at, "show", id, one.ID, one.Rev)...); len(shown) != 1 || string(shown[0].Doc) != string(one.Doc) || one.Doc == nil {
		t.Errorf("shown: %+v", shown)
	}

	if again := failures(t, program.ExitRejected, append(at, "replay", id, one.ID)...); len(again) != 2 || again[0].Outcome != "refused" || again[0].Attempts != 2 || again[1].Refused != 1 {
		t.Errorf("replayed before it is mended: %+v", again)
	}
	mend()
	if again := failures(t, 0, append(at, "replay", id, one.ID)...); len(again) != 2 || again[0].Outcome != "written" || again[0].ID != one.ID {
		t.Errorf("replayed one: %+v", again)
	}
	failures(t, program.ExitUsage, append(at, "replay", id)...) // all is said, never meant
	if none := failures(t, 0, append(at, "replay", id, "--status", "401")...); len(none) != 1 {
		t.Errorf("replayed what there is not: %+v", none)
	}
	if some := failures(t, 0, append(at, "discard", id, exported[4].ID)...); some[0].Discarded != 1 {
		t.Errorf("discarded: %+v", some)
	}
	if rest := failures(t, 0, append(at, "replay", id, "--reason", "sevens")...); rest[len(rest)-1].Written != 8 {
		t.Errorf("replayed the rest: %+v", rest)
	}
	if jobs := failures(t, 0, at...); len(jobs) != 0 {
		t.Errorf("left: %+v", jobs)
	}
	o := compare.For(s.pair)
	o.Wanted = func(id string) bool { return id != exported[4].ID }
	compare.Require(t, s.source, s.target, o)
}

// A replication that is running has its broker for itself, and lets this command in.
func TestFailuresOfARunningReplicationAreReplayedWhileItGoesOn(t *testing.T) {
	s, mend := mended(t)
	s.fill(dataset.Bulk(50, 300))
	data := t.TempDir()
	running := s.replicate("--create-target", "--continuous", "--data", data)
	running.CaughtUp(50)
	jobs := failures(t, 0, "--data", data)
	if len(jobs) != 1 || jobs[0].Failures != 5 || jobs[0].State != "running" {
		t.Fatalf("jobs: %+v", jobs)
	}
	mend()
	if all := failures(t, 0, "--data", data, "replay", jobs[0].Job, "--all"); all[len(all)-1].Written != 5 {
		t.Errorf("replayed: %+v", all)
	}
	put(t, s.source, "/later", `{}`)
	running.Until(func(e program.Event) bool { return e.Type == "progress" && e.DocsWritten > 45 })
	running.Interrupt()
	s.replicate().Completed()
	s.same()
	if jobs := failures(t, 0, "--data", data); len(jobs) != 0 {
		t.Errorf("left: %+v", jobs)
	}
}

func TestFailuresOfAServerAreReachedByItsAddressAndByItsData(t *testing.T) {
	s, mend := mended(t)
	s.fill(dataset.Bulk(30, 300))
	data := t.TempDir()
	serve := program.Start(t, program.Millrace, []string{"serve", "--data", data, "--listen", "127.0.0.1:0"})
	line := serve.WaitLine(serve.Stderr, func(line string) bool { return strings.Contains(line, "broker=nats://") })
	_, url, _ := strings.Cut(line, "broker=")
	url, _, _ = strings.Cut(url, " ")
	summary := s.replicate("--create-target", "--nats", url).Exited(program.ExitRejected)
	if !strings.HasPrefix(summary.Failures, "millrace failures --nats "+url+" ") {
		t.Errorf("the summary says %q", summary.Failures)
	}
	for _, at := range [][]string{{"--nats", url}, {"--data", data}} {
		if jobs := failures(t, 0, at...); len(jobs) != 1 || jobs[0].Failures != 3 {
			t.Errorf("%v: %+v", at, jobs)
		}
	}
	mend()
	id := failures(t, 0, "--nats", url)[0].ReplicationID
	if all := failures(t, 0, "--nats", url, "replay", id, "--all"); all[len(all)-1].Written != 3 {
		t.Errorf("replayed: %+v", all)
	}
	s.same()
}

// Replays that are killed at any moment lose and double nothing: what was under way is done by the
// next, or by whoever has the pipeline.
func TestKilledReplaysAreRepeated(t *testing.T) {
	const n = 1000
	var mended atomic.Bool
	_, target := pond(t, millpond.Options{Validate: func(string, string, []byte) error {
		if !mended.Load() {
			return millpond.Forbidden("not yet")
		}
		return nil
	}})
	s := onMillponds(t)
	s.target = target + "/refusing"
	s.fill(dataset.Bulk(n, 300))
	data := t.TempDir()
	s.replicate("--create-target", "--data", data).Exited(program.ExitRejected)
	id := failures(t, 0, "--data", data)[0].ReplicationID
	mended.Store(true)
	for kill := range 3 {
		p := program.Start(t, program.Millrace, []string{"failures", "--data", data, "replay", id, "--all"})
		lines := 0
		p.WaitLine(p.Stdout, func(line string) bool {
			lines++
			return lines > 50*(kill+1) || strings.HasPrefix(line, "written ") && strings.Contains(line, ", refused")
		})
		p.Kill()
	}
	last := failures(t, 0, "--data", data, "replay", id, "--all")
	t.Logf("the last of four replays had %d to do", last[len(last)-1].Written)
	if jobs := failures(t, 0, "--data", data); len(jobs) != 0 {
		t.Errorf("left: %+v", jobs)
	}
	s.same()
}

func TestRealCouchDBsRefusedDocumentsAreReplayedWithTheirAttachments(t *testing.T) {
	for _, server := range peer.OfKind(t, peer.CouchDB) {
		s := between(t, peer.Pair{Source: server, Target: server})
		for i := range 20 {
			put(t, s.source, fmt.Sprintf("/doc-%d", i), `{"n":1e2}`)
			put(t, s.source, fmt.Sprintf("/att-%d", i), `{"_attachments":{"text":{"content_type":"text/plain","data":"`+strings.Repeat("d2hlZWwg", 100)+`"}}}`)
		}
		put(t, s.target, "/_design/refuse", `{"validate_doc_update":"function (doc) { if (/7$/.test(doc._id)) { throw({forbidden: 'no sevens'}); } if (/8$/.test(doc._id)) { throw({unauthorized: 'no eights'}); } }"}`)
		data := filepath.Join(t.TempDir(), "state")
		s.replicate("--data", data).Exited(program.ExitRejected)
		job := failures(t, 0, "--data", data)[0]
		if all := failures(t, 0, "--data", data, job.Job, "--status", "401"); len(all) != 4 || all[0].Error != "unauthorized" {
			t.Errorf("by status: %+v", all)
		}
		if all := failures(t, program.ExitRejected, "--data", data, "replay", job.Job, "--all"); all[len(all)-1].Refused != 8 {
			t.Errorf("replayed: %+v", all)
		}
		var design struct {
			Rev string `json:"_rev"`
		}
		ask(t, http.MethodGet, s.target+"/_design/refuse", "", &design)
		var tombstone struct{ Rev string }
		ask(t, http.MethodDelete, s.target+"/_design/refuse?rev="+design.Rev, "", &tombstone)
		if all := failures(t, 0, "--data", data, "replay", job.Job, "--all"); all[len(all)-1].Written != 8 {
			t.Errorf("replayed: %+v", all)
		}
		ask(t, http.MethodPost, s.target+"/_purge", `{"_design/refuse":["`+tombstone.Rev+`"]}`, nil)
		s.same()
	}
}

// CouchDB's own code crashes at some documents, and says nothing about which: PouchDB and
// Millpond have them.
func TestRealCouchDBsCodeCrashesAtADocumentAndTheOthersArrive(t *testing.T) {
	for _, server := range peer.OfKind(t, peer.CouchDB) {
		s := between(t, peer.Pair{Source: peer.OfKind(t, peer.Millpond)[0], Target: server})
		s.fill(dataset.Bulk(200, 300))
		put(t, s.source, "/poison", `{"n":`+strings.Repeat("1", 5000)+`}`)
		data := t.TempDir()
		if summary := s.replicate("--data", data).Exited(program.ExitRejected); summary.DocWriteFailures != 1 || summary.DocsWritten != 200 {
			t.Errorf("summary: %+v", summary)
		}
		all := failures(t, 0, "--data", data, failures(t, 0, "--data", data)[0].Job)
		if len(all) != 1 || all[0].ID != "poison" || all[0].Status != http.StatusInternalServerError || all[0].Reason != "badarith" {
			t.Errorf("recorded %+v", all)
		}
	}
}
