package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/dataset"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// owners are a source with several targets, on a server of the test's own.
type owners struct {
	*testing.T
	source  string
	targets []string
	data    string // directory
}

// newOwners makes a source with documents of owners by turns ("owner-0", ...), and as many targets.
func newOwners(t *testing.T, targets, docs int) owners {
	t.Helper()
	_, address := pond(t, millpond.Options{})
	f := owners{T: t, source: address + "/source", data: t.TempDir()}
	put(t, f.source, "", "")
	for i := range targets {
		f.targets = append(f.targets, fmt.Sprintf("%s/target-%d", address, i))
		put(t, f.targets[i], "", "")
	}
	f.write("first", docs)
	return f
}

// write writes documents into the source.
func (f owners) write(prefix string, docs int) {
	f.Helper()
	var all []string
	for i := range docs {
		all = append(all, fmt.Sprintf(`{"_id":"%s-%04d","owner":"owner-%d"}`, prefix, i, i%len(f.targets)))
	}
	if status := ask(f.T, http.MethodPost, f.source+"/_bulk_docs", `{"docs":[`+strings.Join(all, ",")+`]}`, nil); status != http.StatusCreated {
		f.Fatalf("_bulk_docs: %d", status)
	}
}

// document writes a replication document in which each target gets its owner's documents; with more
// of its members.
func (f owners) document(more string) string {
	f.Helper()
	var entries []string
	for i, target := range f.targets {
		switch i % 2 {
		case 0:
			entries = append(entries, fmt.Sprintf(`{"target":%q,"selector":{"owner":"owner-%d"}}`, target, i))
		default:
			entries = append(entries, fmt.Sprintf(`{"target":%q,"filter":"app/own","query_params":{"who":"owner-%d"}}`, target, i))
		}
	}
	path := filepath.Join(f.TempDir(), "fanout.json")
	text := fmt.Sprintf(`{"source":%q,"checkpoint_interval":200,"targets":[%s]%s}`, f.source, strings.Join(entries, ","), more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
	return path
}

const ownFilter = `"filters":{"own":"function(doc, req) { return doc.owner == req.query.who; }"}`

// replicate runs the command with the test's data directory.
func (f owners) replicate(args ...string) *program.Replication {
	f.Helper()
	return program.Replicate(f.T, append(args, "--data", f.data)...)
}

// all are the source and the targets, as arguments.
func (f owners) all() []string { return append([]string{f.source}, f.targets...) }

// verify fails the test unless millrace verify ends with the code, and returns what it prints.
func (f owners) verify(code int, args ...string) string {
	f.Helper()
	p := program.Start(f.T, program.Millrace, append([]string{"verify", "--bodies", "--settle"}, args...))
	if got := p.Wait(); got != code {
		f.Errorf("millrace verify ended with %d instead of %d: %s%s", got, code, p.Stdout, p.Stderr)
	}
	return p.Stdout.String()
}

// summaries are those of the targets, and what they are together.
func summaries(r *program.Replication) (byTarget map[string]program.Event, total program.Event) {
	byTarget = map[string]program.Event{}
	for _, e := range r.Events() {
		switch e.Type {
		case "summary":
			byTarget[e.Target] = e
		case "total":
			total = e
		}
	}
	return byTarget, total
}

func TestCommandFansOutToSeveralTargets(t *testing.T) {
	f := newOwners(t, 3, 60)
	quiet := program.Start(t, program.Millrace, append([]string{"replicate", "-q", "--data", f.data}, f.all()...))
	if code := quiet.Wait(); code != program.ExitOK {
		t.Fatalf("exit code %d", code)
	}
	lines := quiet.Stdout.Lines()
	if len(lines) != 4 || quiet.Stderr.String() != "" {
		t.Fatalf("-q prints %q and %q", lines, quiet.Stderr)
	}
	for i, target := range f.targets {
		if !strings.HasPrefix(lines[i], target+"/: completed in ") || !strings.Contains(lines[i], "docs_written 60,") {
			t.Errorf("summary of %s: %s", target, lines[i])
		}
	}
	if !strings.HasPrefix(lines[3], "3 targets in ") || !strings.Contains(lines[3], ": 3 completed, 0 failed: docs_read 180, docs_written 180,") {
		t.Errorf("of all: %s", lines[3])
	}
	f.verify(program.ExitOK, f.all()...)

	// Again, there is nothing to do; and nothing is said twice.
	again := f.replicate(f.all()...)
	again.Completed()
	byTarget, total := summaries(again)
	if len(byTarget) != 3 || total.Targets != 3 || total.Completed != 3 || total.Failed != 0 || total.DocsRead != 0 {
		t.Errorf("again: %+v", total)
	}
	for target, e := range byTarget {
		if !e.OK || !e.Result.OK || !e.Result.NoChanges || e.ReplicationID == "" {
			t.Errorf("again to %s: %+v", target, e)
		}
	}
}

func TestDocumentGivesEachTargetItsOwn(t *testing.T) {
	f := newOwners(t, 4, 80)
	put(t, f.source, "/_design/app", `{`+ownFilter+`}`)
	r := f.replicate("--document", f.document(""))
	r.Completed()
	byTarget, total := summaries(r)
	if total.Completed != 4 || total.DocsWritten != 80 {
		t.Errorf("%+v", total)
	}
	for target, e := range byTarget {
		if e.DocsWritten != 20 {
			t.Errorf("%s: %+v", target, e)
		}
	}
	if said := f.verify(program.ExitOK, "--document", f.document("")); !strings.Contains(said, "4 targets: 4 hold what they should") {
		t.Error(said)
	}
	put(t, f.targets[2], "/alien", `{"owner":"owner-2"}`)
	if said := f.verify(program.ExitDifferent, "--document", f.document("")); !strings.Contains(said, `"alien" foreign at B`) {
		t.Error(said)
	}
}

func TestTargetThatFailsHoldsUpNoOther(t *testing.T) {
	f := newOwners(t, 3, 30)
	refusing, gone := f.targets[0], f.targets[1]+"-none"
	put(t, refusing, "/_design/no", `{"validate_doc_update":"function(doc) { if (doc.owner == 'owner-1') throw {forbidden: 'no'}; }"}`)
	r := f.replicate(f.source, refusing, gone, f.targets[2])
	r.Exited(program.ExitFailed)
	byTarget, total := summaries(r)
	if total.Failed != 1 || total.Completed != 2 || total.DocWriteFailures != 10 {
		t.Errorf("%+v", total)
	}
	if e := byTarget[gone+"/"]; e.OK || !strings.Contains(e.Error, "db_not_found: could not open") {
		t.Errorf("the target that is not there: %+v", e)
	}
	if e := byTarget[f.targets[2]+"/"]; !e.OK || e.DocsWritten != 30 {
		t.Errorf("the other: %+v", e)
	}
	if said := r.Stderr.String(); !strings.Contains(said, "1 of 3 targets failed") {
		t.Errorf("stderr: %s", said)
	}
	// Where all that is wrong is what one refuses, the exit code says that.
	f.write("more", 30)
	r = f.replicate(f.source, refusing, f.targets[2], f.targets[1])
	r.Exited(program.ExitRejected)
	if byTarget, _ := summaries(r); byTarget[refusing+"/"].DocWriteFailures != 10 || byTarget[refusing+"/"].Failures == "" {
		t.Errorf("%+v", byTarget[refusing+"/"])
	}
}

// checkpointed says that a target has a checkpoint of the replication.
func checkpointed(t *testing.T, db, id string) bool {
	t.Helper()
	return ask(t, http.MethodGet, db+"/_local/"+id, "", nil) == http.StatusOK
}

func TestInterruptedFanOutGoesOnWhereEachTargetWas(t *testing.T) {
	const docs = 300
	f := newOwners(t, 3, docs)
	put(t, f.source, "/_design/app", `{`+ownFilter+`}`)
	r := f.replicate("--continuous", "--document", f.document(""))
	done := map[string]bool{}
	r.Until(func(e program.Event) bool {
		done[e.Target] = done[e.Target] || e.DocsWritten == docs/3 && e.ChangesPending != nil && *e.ChangesPending == 0
		return done[f.targets[0]+"/"] && done[f.targets[1]+"/"] && done[f.targets[2]+"/"]
	})
	if code := r.Interrupt(); code != program.ExitOK {
		t.Fatalf("exit code %d after Ctrl-C", code)
	}
	byTarget, _ := summaries(r)
	for i, target := range f.targets {
		id := strings.TrimSuffix(byTarget[target+"/"].ReplicationID, "+continuous")
		if !checkpointed(t, target, id) || !checkpointed(t, f.source, id) {
			t.Errorf("target %d has no checkpoint %s", i, id)
		}
	}
	f.write("later", 30)
	again := f.replicate("--document", f.document(""))
	again.Completed()
	byTarget, _ = summaries(again)
	for target, e := range byTarget {
		if e.DocsWritten != 10 || e.DocsRead != 10 || e.MissingChecked != 10 {
			t.Errorf("the second run of %s: %+v", target, e.Counters)
		}
	}
	f.verify(program.ExitOK, "--document", f.document(""))
}

// What has come to its end before Ctrl-C has, and says so.
func TestInterruptLeavesCompletedTargetsCompleted(t *testing.T) {
	f := newOwners(t, 2, 20)
	stuck := f.targets[1]
	through(t, &stuck).Add(chaosproxy.Rule{Match: chaosproxy.On(chaosproxy.BulkDocs), Do: chaosproxy.Hang()})
	r := f.replicate(f.source, f.targets[0], stuck)
	r.Until(func(e program.Event) bool { return e.Type == "state" && e.State == "completed" })
	if code := r.Interrupt(); code != program.ExitInterrupted {
		t.Errorf("exit code %d after Ctrl-C", code)
	}
	byTarget, total := summaries(r)
	if e := byTarget[f.targets[0]+"/"]; !e.OK || !e.Result.OK || e.DocsWritten != 20 {
		t.Errorf("the one that was completed: %+v", e)
	}
	if e := byTarget[stuck+"/"]; e.OK || total.Completed != 1 || total.Failed != 0 {
		t.Errorf("the other: %+v, together: %+v", e, total)
	}
}

// A second Ctrl-C does not wait for what the first one does.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	s := onMillponds(t)
	s.fill(dataset.Bulk(200, 300))
	other := s.target + "-other"
	put(t, other, "", "")
	s.deleteAfterwards(other)
	direct := s
	stuck := through(t, &s.target)
	data := t.TempDir()
	args := []string{s.source, s.target, other, "--continuous", "--checkpoint-interval", "1h", "--data", data}
	r := program.Replicate(t, args...)
	caughtUp := map[string]bool{}
	r.Until(func(e program.Event) bool {
		if e.DocsWritten == 200 {
			caughtUp[e.Target] = true
		}
		return len(caughtUp) == 2
	})
	asked := make(chan struct{})
	once := sync.OnceFunc(func() { close(asked) })
	hanging := stuck.Add(chaosproxy.Rule{
		Match: func(r *http.Request) bool {
			once()
			return true
		}, Do: chaosproxy.Hang(),
	})
	r.Signal(syscall.SIGINT)
	<-asked // the last checkpoint, which waits for the target
	r.Signal(syscall.SIGINT)
	if code := r.Wait(); code != program.Killed {
		t.Errorf("exit code %d after the second Ctrl-C", code)
	}
	hanging.Remove()
	again := program.Replicate(t, s.source, s.target, other, "--data", data)
	again.Completed()
	direct.same()
	direct.target = other
	direct.same()
}

// changing is a fan-out of which the filter function is one that changes.
func changing(t *testing.T) (f owners, change func()) {
	t.Helper()
	f = newOwners(t, 2, 20)
	put(t, f.source, "/_design/app", `{"filters":{"own":"function(doc, req) { return doc.owner == req.query.who && doc._id < 'first-0010'; }"}}`)
	return f, func() {
		t.Helper()
		rev := leavesOf(t, f.source, "all_docs")["_design/app"][0]
		put(t, f.source, "/_design/app", `{"_rev":"`+rev+`",`+ownFilter+`}`)
	}
}

// TestReplicationGoesOnUnderItsNewIDWhenItsFilterFunctionChanges: while it runs, as in CouchDB; the other
// target's, which has no function, just goes on.
func TestReplicationGoesOnUnderItsNewIDWhenItsFilterFunctionChanges(t *testing.T) {
	f, change := changing(t)
	f.changes(change, f.replicate("--continuous", "--document", f.document("")))
	// The next run has nothing to do: it begins with the function as it is.
	again := f.replicate("--document", f.document(""))
	again.Completed()
	if _, total := summaries(again); total.DocsRead != 0 {
		t.Errorf("the next run: %+v", total)
	}
}

// TestServicesGoOnUnderTheNewID: they try for ever what cannot be, so that the command takes the job of before
// away.
func TestServicesGoOnUnderTheNewID(t *testing.T) {
	f, change := changing(t)
	c := program.StartCluster(t, program.ClusterOptions{})
	f.changes(change, c.Replicate("--continuous", "--document", f.document("")))
}

// changes changes the function of the second target while the replication runs, and looks at how it goes on.
func (f owners) changes(change func(), r *program.Replication) {
	t := f.T
	t.Helper()
	selected, filtered := f.targets[0]+"/", f.targets[1]+"/"
	seen := map[string]int{}
	r.Until(func(e program.Event) bool {
		seen[e.Target] = max(seen[e.Target], e.DocsWritten)
		return seen[selected] == 10 && seen[filtered] == 5
	})
	change()
	f.write("later", 4)
	first := ""
	seen = map[string]int{}
	r.Until(func(e program.Event) bool { // from the beginning: the function of before chose five
		if e.Target == filtered && first == "" {
			first = e.ReplicationID
		}
		if e.Target == selected || e.ReplicationID != first {
			seen[e.Target] = max(seen[e.Target], e.DocsWritten)
		}
		return seen[filtered] == 7 && seen[selected] == 12
	})
	if code := r.Interrupt(); code != program.ExitOK {
		t.Errorf("exit code %d after Ctrl-C", code)
	}
	byTarget, total := summaries(r)
	second := byTarget[filtered]
	if second.ReplicationID == first || !strings.Contains(strings.Join(second.Notes, " "), "the replication starts over as "+second.ReplicationID) {
		t.Errorf("first %s, then %+v", first, second)
	}
	if total.Failed != 0 || !second.OK {
		t.Errorf("%+v %+v", total, second)
	}
	if ids := states(r, selected); len(ids) != 1 {
		t.Errorf("the other target's replications: %v", ids)
	}
	if id := strings.TrimSuffix(second.ReplicationID, "+continuous"); !checkpointed(t, f.targets[1], id) {
		t.Errorf("no checkpoint %s", id)
	}
	f.verify(program.ExitOK, "--document", f.document(""))
}

// states are the replication ids that a target has had.
func states(r *program.Replication, target string) map[string]bool {
	ids := map[string]bool{}
	for _, e := range r.Events() {
		if e.Type == "state" && e.Target == target {
			ids[e.ReplicationID] = true
		}
	}
	return ids
}

// TestOneShotStartsOverWhenItsFilterFunctionChanges: between its start, when the id is made, and the first
// document.
func TestOneShotStartsOverWhenItsFilterFunctionChanges(t *testing.T) {
	f, change := changing(t)
	direct := f.source
	changed := sync.OnceFunc(change)
	source := direct
	through(t, &source).Add(chaosproxy.Rule{Match: func(r *http.Request) bool {
		if chaosproxy.Classify(r) == chaosproxy.Changes {
			changed()
		}
		return false
	}})
	r := f.replicate(source, f.targets[1], "--filter", "app/own", "--query-param", "who=owner-1")
	summary := r.Completed()
	if summary.DocsWritten != 10 || !summary.Result.OK {
		t.Errorf("%+v", summary)
	}
	if ids := states(r, ""); len(ids) != 2 || !ids[summary.ReplicationID] {
		t.Errorf("replications %v, in the end %s", ids, summary.ReplicationID)
	}
	f.verify(program.ExitOK, direct, f.targets[1], "--filter", "app/own", "--query-param", "who=owner-1")
}
