package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// fan is one source and several targets, each on a server of its own, under one name.
type fan struct {
	source  *server
	targets []pair
	name    string
}

func newFan(t *testing.T, targets int) fan {
	t.Helper()
	f := fan{source: startServer(t, millpond.Options{}), name: "fan"}
	f.source.create(t, f.name)
	for range targets {
		target := startServer(t, millpond.Options{})
		target.create(t, f.name)
		f.targets = append(f.targets, pair{f.source, target, f.name})
	}
	return f
}

// args are what millrace replicate is told: small batches, so that what stands still soon has more to do
// than may wait for it.
func (f fan) args(more ...string) []string {
	args := []string{f.source.via(f.name)}
	for _, p := range f.targets {
		args = append(args, p.target.via(f.name))
	}
	return append(append(args, "--batch-size", "20", "--checkpoint-interval", "250ms"), more...)
}

// lacks is how many leaves of the source a target has not got.
func (p pair) lacks(t *testing.T) (missing int) {
	t.Helper()
	has := p.target.leaves(t, p.name, nil)
	for l := range p.source.leaves(t, p.name, nil) {
		if !has[l] {
			missing++
		}
	}
	return missing
}

// shown is what the product calls a database.
func (s *server) shown(name string) string { return s.via(name) + "/" }

// verify asks the product's own judge.
func (p pair) verify(t *testing.T) {
	t.Helper()
	v := program.Start(t, program.Millrace, []string{"verify", "--bodies", p.source.direct(p.name), p.target.direct(p.name)})
	if code := v.Wait(); code != program.ExitOK {
		t.Errorf("millrace verify ended with %d: %s", code, v.Stdout)
	}
}

// Of six targets one is slow, one away, one fails and one forbids everything. The others are through with
// what there was, and get each change before the next is made, while those four stand; mended, these catch
// up: the one that forbids when it is asked again, since the command takes its word for it.
func TestTargetsInTroubleHoldUpNoOther(t *testing.T) {
	t.Parallel()
	f := newFan(t, 6)
	healthy, troubled := f.targets[:2], f.targets[2:]
	slow, stopped, failing, refusing := troubled[0].target, troubled[1].target, troubled[2].target, troubled[3].target
	// More batches than may wait at all stages together, for each of the four.
	f.targets[0].fill(t, 1000, seed)

	slow.proxy.SetRTT(100 * time.Millisecond)
	crawling, release := slow.hold(chaosproxy.BulkDocs, f.name, 3)
	defer release()
	dying, dead := stopped.hold(chaosproxy.BulkDocs, f.name, 3)
	defer dead()
	writes := chaosproxy.On(chaosproxy.BulkDocs)
	fails := failing.proxy.Add(chaosproxy.Rule{Match: writes, Skip: 2, Do: chaosproxy.ServerError(http.StatusServiceUnavailable)})
	refuses := refusing.proxy.Add(chaosproxy.Rule{Match: writes, Do: chaosproxy.ServerError(http.StatusForbidden)})

	r := program.Replicate(t, f.args("--continuous", "--retries", "0", "--retries-per-request", "1")...)
	await(t, "writes at the target that goes away", dying)
	stopped.proxy.Down()
	dead()
	await(t, "writes at the slow target", crawling)
	for _, p := range healthy {
		p.same(t)
	}
	r.Until(func(e program.Event) bool { return e.State == "failed" && e.Target == refusing.shown(f.name) })
	for _, p := range troubled {
		if p.lacks(t) == 0 {
			t.Error("a target in trouble has everything: the test says nothing")
		}
	}
	for i := range 10 {
		change := fmt.Sprintf("change-%d", i)
		f.source.must(t, http.MethodPut, "/"+f.name+"/"+change, []byte(`{}`))
		for _, p := range healthy {
			eventually(t, change+" is there", func() bool {
				_, status, err := p.target.send(t.Context(), http.MethodGet, "/"+f.name+"/"+change, nil)
				return err == nil && status == http.StatusOK
			})
		}
	}
	for _, p := range troubled[1:] { // the slow one is in trouble only as long as its write is held
		if p.lacks(t) < 10 {
			t.Error("a target in trouble has the changes: the test says nothing")
		}
	}
	if fails.Hits() == 0 || refuses.Hits() == 0 {
		t.Errorf("%d writes failed, %d were refused: the test says nothing", fails.Hits(), refuses.Hits())
	}

	release()
	stopped.proxy.Up()
	fails.Remove()
	refuses.Remove()
	again := program.Replicate(t, f.source.via(f.name), refusing.via(f.name))
	for _, p := range f.targets {
		p.same(t)
		p.verify(t)
	}
	again.Completed()
	if code := r.Interrupt(); code != program.ExitFailed {
		t.Errorf("exit code %d after Ctrl-C, with a target that failed", code)
	}
	for _, e := range r.Events() {
		if e.State == "crashing" || e.State == "failed" {
			for _, p := range healthy {
				if e.Target == p.target.shown(f.name) {
					t.Errorf("a target that was well: %+v", e)
				}
			}
		}
	}
}

// The services of one target's site are killed. The other targets are through before they are
// started again; then that target goes on where it was.
func TestSiteWhoseServicesAreKilledHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	const away = "away"
	f := newFan(t, 3)
	f.targets[0].fill(t, documents, seed)
	lost := f.targets[2]
	cluster := program.StartCluster(t, program.ClusterOptions{})
	var there []*program.Process
	start := func() {
		for _, name := range []string{program.RevsDiff, program.BulkWriter} {
			there = append(there, cluster.Add(name, "--site", away))
		}
	}
	start()
	came, release := lost.target.hold(chaosproxy.BulkDocs, f.name, 10)
	defer release()
	r := cluster.Replicate("--document", f.document(t, away), "--batch-size", "40", "--checkpoint-interval", "250ms")
	await(t, "writes at the site", came)
	for _, p := range there {
		p.Kill()
	}
	release()
	for _, p := range f.targets[:2] {
		r.Until(func(e program.Event) bool { return e.State == "completed" && e.Target == p.target.shown(f.name) })
		p.same(t)
	}
	if n := lost.lacks(t); n == 0 {
		t.Error("the target whose services are dead has everything: the test says nothing")
	}
	if slices.ContainsFunc(r.Events(), func(e program.Event) bool { return e.State == "completed" && e.Target == lost.target.shown(f.name) }) {
		t.Error("its job is completed")
	}
	start()
	r.Completed()
	if n := again(f.source.reads(f.name)); n > waiting {
		t.Errorf("%d of %d documents were read again; at most %d can have been under way", n, documents, waiting)
	}
	for _, p := range f.targets {
		p.same(t)
		p.verify(t)
	}
}

// document is a replication document of the fan, whose last target is at this site.
func (f fan) document(t *testing.T, site string) string {
	t.Helper()
	var targets []any
	for i, p := range f.targets {
		end := map[string]any{"url": p.target.via(f.name)}
		if i == len(f.targets)-1 {
			end["site"] = site
		}
		targets = append(targets, map[string]any{"target": end})
	}
	text, err := json.Marshal(map[string]any{"source": f.source.via(f.name), "targets": targets})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "replication.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
