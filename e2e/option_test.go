package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/program"
)

func TestDocIDsAreReplicatedAndNoOthers(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.fill(dataset.Awkward)
		wanted := []string{"_design/views", "_design/a/b c+d%\u00e9", "tree-conflict-10", "tree-deleted", "att-big", "a/b", "+", "a%b", "%2F", "100%", `"quoted"`, "\U0001f600"}
		list := filepath.Join(s.TempDir(), "ids")
		if err := os.WriteFile(list, []byte(strings.Join(append(wanted, "missing"), "\n")), 0o600); err != nil {
			s.Fatal(err)
		}
		args := []string{"--doc-ids", "tree-history-full,also-missing", "--doc-ids-file", list}
		wanted = append(wanted, "tree-history-full")
		s.replicate(args...).Completed()
		o := compare.For(s.pair)
		o.Wanted = func(id string) bool { return slices.Contains(wanted, id) }
		compare.Require(s.T, s.source, s.target, o)
		if again := s.replicate(args...).Completed(); again.DocsRead != 0 {
			s.Errorf("the second run: %+v", again)
		}
		// One for all documents has checkpoints of its own.
		s.replicate().Completed()
		s.same()
	})
}

// Whether the source can choose for a job that is alone, or cannot: the same documents arrive, now and
// while they change.
func TestSelectorChoosesAtEveryKindOfSource(t *testing.T) {
	eachPair(t, func(s scenario) {
		for i, owner := range []string{"joe", "ann", "joe"} {
			put(s.T, fmt.Sprintf("%s/doc-%d", s.source, i), "", fmt.Sprintf(`{"owner":%q}`, owner))
		}
		args := []string{"--selector", `{"owner":"joe"}`}
		s.replicate(args...).Completed()
		has := func(want string) {
			s.Helper()
			if _, ids := seqs(s.T, s.target); strings.Join(slices.Sorted(slices.Values(ids)), " ") != want {
				s.Errorf("the target has %q, want %s", ids, want)
			}
		}
		has("doc-0 doc-2")
		put(s.T, s.source+"/doc-3", "", `{"owner":"joe"}`)
		put(s.T, s.source+"/doc-4", "", `{"owner":"ann"}`)
		if again := s.replicate(args...).Completed(); again.DocsWritten != 1 {
			s.Errorf("the second run: %+v", again)
		}
		has("doc-0 doc-2 doc-3")
	})
}

func TestSinceSeqLeavesOutWhatIsOlder(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.edit(s.source, "before-", 30, 1)
		var info struct {
			Seq json.RawMessage `json:"update_seq"`
		}
		ask(s.T, http.MethodGet, s.source, "", &info)
		s.edit(s.source, "after-", 30, 2)
		s.replicate("--since-seq", strings.Trim(string(info.Seq), `"`)).Completed()
		o := compare.For(s.pair)
		o.Wanted = func(id string) bool { return strings.HasPrefix(id, "after-") }
		compare.Require(s.T, s.source, s.target, o)
	})
}

func TestCreateTarget(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.edit(s.source, "doc-", 10, 1)
		s.target = s.pair.Target.AbsentDB(s.T)
		without := s.replicate()
		without.Exited(program.ExitFailed)
		if said := without.Stderr.String(); !strings.Contains(said, "db_not_found") {
			s.Errorf("without --create-target: %s", said)
		}
		s.replicate("--create-target").Completed()
		s.same()
		s.replicate("--create-target").Completed() // it is there now
	})
}

func TestWinningRevsOnly(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.fill(dataset.Awkward)
		s.replicate("--winning-revs-only").Completed()
		winners, leaves := leavesOf(s.T, s.source, "main_only"), leavesOf(s.T, s.target, "all_docs")
		if len(winners) != len(leaves) {
			s.Errorf("%d documents of %d", len(leaves), len(winners))
		}
		for id, revs := range leaves {
			if !slices.Equal(revs, winners[id]) {
				s.Errorf("%q has the leaves %v at the target and the winner %v at the source", id, revs, winners[id])
			}
		}
	})
}

func TestNoBulkGetReadsDocumentsOneByOne(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.fill(dataset.Awkward)
		proxy := through(s.T, &s.source)
		if summary := s.replicate("--no-bulk-get").Completed(); summary.BulkGetAttempts != 0 {
			s.Errorf("summary: %+v", summary)
		}
		if n := proxy.Counts()[chaosproxy.BulkGet].Requests; n != 0 {
			s.Errorf("%d requests to _bulk_get", n)
		}
		s.same()
	})
}

func TestNoCheckpointsLeavesNothingInTheDatabases(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.fill(dataset.Bulk(100, 300))
		s.replicate("--no-checkpoints").Completed()
		again := s.replicate("--no-checkpoints").Completed()
		if again.MissingChecked != 100 || again.DocsWritten != 0 {
			s.Errorf("second run: %+v", again)
		}
		if r := again.Result; !r.OK || r.UseCheckpoints == nil || *r.UseCheckpoints || r.History != nil || r.SessionID != "" {
			s.Errorf("result: %+v", r)
		}
		for _, db := range []string{s.source, s.target} {
			if status := ask(s.T, http.MethodGet, db+"/_local/"+base(again), "", nil); status != http.StatusNotFound {
				s.Errorf("asked for a checkpoint, a database answers %d", status)
			}
		}
		s.same()
	})
}

// As in CouchDB: the option is about writing.
func TestNoCheckpointsGoesOnFromThoseThatAreThere(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.edit(s.source, "before-", 20, 1)
		with := s.replicate().Completed()
		edits := s.edit(s.source, "after-", 10, 2)
		without := s.replicate("--no-checkpoints").Completed()
		if without.MissingChecked > edits.Total() || without.DocsWritten == 0 {
			s.Errorf("after %+v: %+v", edits, without)
		}
		var log program.Result
		ask(s.T, http.MethodGet, s.target+"/_local/"+base(with), "", &log)
		if log.SessionID != with.Result.SessionID {
			s.Errorf("the checkpoint is of session %s, and was of %s", log.SessionID, with.Result.SessionID)
		}
		s.same()
	})
}

// base is the part of a replication's id that names its checkpoints.
func base(e program.Event) string {
	id, _, _ := strings.Cut(e.ReplicationID, "+")
	return id
}

// By services that are there for all jobs, and know of this one's wish by the job alone.
func TestWorkerProcessesBoundWhatIsAskedAtOnce(t *testing.T) {
	c := program.StartCluster(t, program.ClusterOptions{})
	s := onMillponds(t)
	s.fill(dataset.Bulk(400, 300))
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			s := s
			s.T = t
			s.target = s.pair.Target.NewDB(t)
			direct := s
			source, target := through(t, &s.source), through(t, &s.target)
			for _, p := range []*chaosproxy.Proxy{source, target} {
				p.Add(chaosproxy.Rule{Do: chaosproxy.Delay(20 * time.Millisecond)})
			}
			c.Replicate(s.source, s.target, "--workers", fmt.Sprint(workers), "--batch-size", "10").Completed()
			direct.same()
			for kind, count := range map[chaosproxy.Endpoint]chaosproxy.Count{
				chaosproxy.BulkGet: source.Counts()[chaosproxy.BulkGet], chaosproxy.BulkDocs: target.Counts()[chaosproxy.BulkDocs],
				chaosproxy.RevsDiff: target.Counts()[chaosproxy.RevsDiff],
			} {
				// That it reaches its bound takes a machine with time for it.
				if count.AtOnce > workers || count.Requests == 0 {
					t.Errorf("%s: %d requests at once, %d in all", kind, count.AtOnce, count.Requests)
				}
				t.Logf("%s: %d requests at once, %d in all", kind, count.AtOnce, count.Requests)
			}
		})
	}
}

func TestOptionsWithoutEffectAreAcceptedAndNamed(t *testing.T) {
	s := onMillponds(t)
	s.fill(dataset.Bulk(10, 300))
	document := s.document(`"socket_options":"[{keepalive,true},{nodelay,false}]","ibrowse_options":"[]"`)
	summary := program.Replicate(t, "--document", document).Completed()
	for _, option := range []string{"socket_options", "ibrowse_options"} {
		if !slices.ContainsFunc(summary.Notes, func(note string) bool { return strings.Contains(note, "`"+option+"` has no effect") }) {
			t.Errorf("notes: %q", summary.Notes)
		}
	}
	s.same()
	p := program.Start(t, program.Millrace, []string{"replicate", "--document", document})
	if code := p.Wait(); code != program.ExitOK || !strings.Contains(p.Stderr.String(), "note: the option `socket_options` has no effect here\n") {
		t.Errorf("exit code %d, %s", code, p.Stderr)
	}
}

func TestWhatIsWrongOrNotSupportedIsRefusedByName(t *testing.T) {
	s := onMillponds(t)
	for fields, says := range map[string]string{
		`"selector":{"$bad":[]}`:    "parameter `selector`: ",
		`"skip_deletes":1`:          "parameter `skip_deletes` must be a boolean",
		`"paused":true`:             "`paused` is not supported",
		`"cancel":true`:             "`cancel` is not supported",
		`"worker_processes":0`:      "parameter `worker_processes` must be an integer of 1 or more",
		`"use_checkpoints":"false"`: "parameter `use_checkpoints` must be a boolean",
		`"create_target_params":1`:  "parameter `create_target_params` must be a JSON object",
	} {
		p := program.Start(t, program.Millrace, []string{"replicate", "--document", s.document(fields)})
		if code := p.Wait(); code != program.ExitUsage || !strings.Contains(p.Stderr.String(), says) {
			t.Errorf("%s: exit code %d, %s", fields, code, p.Stderr)
		}
	}
}

func TestDatabaseNamesMayBeAwkward(t *testing.T) {
	eachPair(t, func(s scenario) {
		for i, name := range []string{"/a+b/$(c)-_d", "/+", "$1(2)/3-4_5"} {
			// After the random part of a name, which begins with a letter.
			s.source = s.pair.Source.AbsentDB(s.T) + url.QueryEscape(name)
			s.target = s.pair.Target.AbsentDB(s.T) + url.QueryEscape("_"+name)
			s.deleteAfterwards(s.source, s.target)
			put(s.T, s.source, "", "")
			s.edit(s.source, "doc-", 10, uint64(i))
			s.replicate("--create-target").Completed()
			s.same()
		}
	})
}

func TestServersMayBeBelowABasePath(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.edit(s.source, "doc-", 20, 1)
		inner := s
		for _, db := range []*string{&s.source, &s.target} {
			server, name := (*db)[:strings.LastIndex(*db, "/")], (*db)[strings.LastIndex(*db, "/"):]
			*db = below(s.T, "/couch/base", server) + name
		}
		s.replicate().Completed()
		if again := s.replicate().Completed(); again.MissingChecked != 0 {
			s.Errorf("the checkpoints were not found again: %+v", again)
		}
		inner.same()
	})
}

func TestLocalDocumentsStayWhereTheyAre(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.edit(s.source, "doc-", 5, 1)
		put(s.T, s.source, "/_local/mine", `{"private":true}`)
		s.replicate().Completed()
		if status := ask(s.T, http.MethodGet, s.target+"/_local/mine", "", nil); status != http.StatusNotFound {
			s.Errorf("the target answers %d", status)
		}
		s.same()
	})
}

func TestGzippedAttachmentsArriveWhateverTheTargetKnowsOfEncodings(t *testing.T) {
	eachPair(t, func(s scenario) {
		can := s.pair.Shared()
		can.EncodedAttachments = s.pair.Source.EncodedAttachments
		if err := dataset.Awkward(s.Context(), s.source, can, 1); err != nil {
			s.Fatal(err)
		}
		if summary := s.replicate().Completed(); summary.DocWriteFailures != 0 {
			s.Errorf("summary: %+v", summary)
		}
		s.same()
	})
}

func TestSmallBatchesAndOneConnectionReplicateAsWell(t *testing.T) {
	s := onMillponds(t)
	s.fill(dataset.Awkward)
	for _, args := range [][]string{
		{"--batch-size", "1", "--workers", "1", "--http-connections", "2"},
		{"--batch-size", "7", "--workers", "8"},
	} {
		s.target = s.pair.Target.NewDB(t)
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			s := s
			s.T = t
			s.replicate(args...).Completed()
			s.same()
		})
	}
}

// through leads the way to a database through a proxy.
func through(t *testing.T, db *string) *chaosproxy.Proxy {
	t.Helper()
	proxy, err := chaosproxy.Start(*db, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	if *db, err = proxy.Through(*db); err != nil {
		t.Fatal(err)
	}
	return proxy
}
