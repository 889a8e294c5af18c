package writer_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"millrace/pkg/broker"
	"millrace/pkg/failures"
	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/bulk-writer/writer"
	"millrace/services/doc-fetcher/fetcher"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// strict is a target that refuses documents whose ids end in 7, until it is mended.
func strict(t *testing.T) (target *databasetest.Database, mend func()) {
	t.Helper()
	var mended atomic.Bool
	target = databasetest.New(t, millpond.Options{Validate: func(_, id string, _ []byte) error {
		if strings.HasSuffix(id, "7") && !mended.Load() {
			return millpond.Forbidden("no sevens")
		}
		return nil
	}})
	return target, func() { mended.Store(true) }
}

func openStore(t *testing.T, p *pipelinetest.Pipeline) *failures.Store {
	t.Helper()
	publisher := broker.NewPublisher(p.Broker(), broker.PublisherOptions{})
	t.Cleanup(func() {
		if err := publisher.Close(); err != nil {
			t.Error(err)
		}
	})
	return failures.NewStore(p.Broker(), publisher)
}

func records(t *testing.T, p *pipelinetest.Pipeline, s *failures.Store, job string) []*failures.Record {
	t.Helper()
	var all []*failures.Record
	err := s.Each(p.Context(), job, func(r *failures.Record) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b *failures.Record) int { return strings.Compare(a.Id+a.Rev, b.Id+b.Rev) })
	return all
}

func replay(t *testing.T, p *pipelinetest.Pipeline, s *failures.Store, job *millracev1.Job, o failures.ReplayOptions) map[string]int {
	t.Helper()
	outcomes, err := s.Replay(p.Context(), job, o)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]int{}
	for outcome, n := range outcomes {
		named[strings.ToLower(strings.TrimPrefix(outcome.String(), "OUTCOME_"))] = n
	}
	return named
}

func TestRejectedDocumentsArriveWhenTheyAreReplayedAfterTheCauseIsMended(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	target, mend := strict(t)
	source.Fill(t, 0, 40)
	source.PutAttachment(t, "attached-7", "picture", strings.Repeat("picture", 10_000))
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	s := openStore(t, p)
	job := p.Submit(source, target, "")
	p.Finish(job.Id)

	for _, r := range records(t, p, s, job.Id) {
		doc, err := s.Document(p.Context(), r)
		if attached := r.Id == "attached-7"; attached != errors.Is(err, failures.ErrNotKept) {
			t.Errorf("%s is kept: %s, %v", r.Id, doc, err)
		} else if !attached && !strings.Contains(string(doc), `"_id":"`+r.Id+`"`) {
			t.Errorf("kept of %s: %s", r.Id, doc)
		}
		if r.Status != http.StatusForbidden || r.Error != "forbidden" || r.Reason != "no sevens" || r.Stage != writer.Name || r.Attempts != 1 || r.Size == 0 {
			t.Errorf("recorded %v", r)
		}
	}

	// Nothing is mended yet.
	if got := replay(t, p, s, job, failures.ReplayOptions{}); got["refused"] != 5 || len(got) != 1 {
		t.Fatalf("replayed with the outcomes %v", got)
	}
	before := records(t, p, s, job.Id)
	if len(before) != 5 {
		t.Fatalf("%d records", len(before))
	}
	for _, r := range before {
		if r.Attempts != 2 || r.FirstTime >= r.Time {
			t.Errorf("recorded %v", r)
		}
	}

	mend()
	var told []string
	one := failures.ReplayOptions{
		Select: func(r *failures.Record) bool { return r.Id == "doc-000017" },
		Tell:   func(d *millracev1.ReplayedDoc) { told = append(told, d.Id+" "+d.Rev) },
	}
	if got := replay(t, p, s, job, one); got["written"] != 1 || len(got) != 1 || len(told) != 1 || told[0] != "doc-000017 "+source.Leaves(t)["doc-000017"][0] {
		t.Fatalf("replayed %v with the outcomes %v", told, got)
	}
	if left := records(t, p, s, job.Id); len(left) != 4 {
		t.Fatalf("%d records", len(left))
	}
	if got := replay(t, p, s, job, failures.ReplayOptions{}); got["written"] != 4 || len(got) != 1 {
		t.Fatalf("replayed with the outcomes %v", got)
	}
	databasetest.SameLeaves(t, source, target)
	if left := records(t, p, s, job.Id); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if kept := p.Messages(p.Broker().Streams().Refused, ">"); len(kept) != 0 {
		t.Errorf("%d documents are still kept", len(kept))
	}
	counted, err := p.Jobs().Replayed(p.Context(), job.Id)
	if err != nil || counted.DocsWritten != 5 {
		t.Errorf("counted %v, %v", counted, err)
	}
}

// A run that begins at the beginning again meets the same refusals: they are the same records.
func TestRepeatedRunsDoNotPileUpAndMendWhatTheyCan(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	target, mend := strict(t)
	source.Fill(t, 0, 30)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	s := openStore(t, p)
	var job *millracev1.Job
	for range 3 {
		job = p.Submit(source, target, `,"use_checkpoints":false`)
		if done := p.Finish(job.Id); done.Totals.DocWriteFailures == 0 {
			t.Errorf("counted %v", done.Totals)
		}
	}
	all := records(t, p, s, job.Id)
	if len(all) != 3 {
		t.Fatalf("%d records", len(all))
	}
	for _, r := range all {
		if r.Attempts != 3 {
			t.Errorf("%d attempts", r.Attempts)
		}
	}
	mend()
	p.Finish(p.Submit(source, target, `,"use_checkpoints":false`).Id)
	databasetest.SameLeaves(t, source, target)
	if left := records(t, p, s, job.Id); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestReplayWritesFromTheRecordWhatTheSourceHasNoMore(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	target, mend := strict(t)
	source.Fill(t, 0, 10)
	source.PutAttachment(t, "attached-7", "picture", strings.Repeat("picture", 10_000))
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	s := openStore(t, p)
	job := p.Submit(source, target, "")
	p.Finish(job.Id)
	rev := source.Leaves(t)["doc-000007"][0]
	source.Recreate(t)
	mend()
	if got := replay(t, p, s, job, failures.ReplayOptions{}); got["written"] != 1 || got["vanished"] != 1 || len(got) != 2 {
		t.Fatalf("replayed with the outcomes %v", got)
	}
	if got := target.Leaves(t)["doc-000007"]; len(got) != 1 || got[0] != rev {
		t.Errorf("at the target: %v", got)
	}
	left := records(t, p, s, job.Id)
	if len(left) != 1 || left[0].Id != "attached-7" || left[0].Status != http.StatusNotFound || left[0].Stage != fetcher.Name || left[0].Attempts < 2 {
		t.Errorf("left: %v", left)
	}
}

// What was edited since comes as it is now; the record of the old revision goes with it.
func TestReplayTakesTheLeafThatDescendsFromTheRejectedRevision(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	target, mend := strict(t)
	source.Write(t, `{"_id":"doc-7","_rev":"1-a"}`)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	s := openStore(t, p)
	job := p.Submit(source, target, "")
	p.Finish(job.Id)
	source.Write(t, `{"_id":"doc-7","_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]}}`)
	if got := replay(t, p, s, job, failures.ReplayOptions{}); got["refused"] != 1 {
		t.Fatalf("replayed with the outcomes %v", got)
	}
	if left := records(t, p, s, job.Id); len(left) != 1 || left[0].Rev != "1-a" || !strings.Contains(left[0].Reason, "2-b") || !strings.Contains(left[0].Reason, "no sevens") {
		t.Fatalf("left: %v", left)
	}
	mend()
	var leaves []string
	got := replay(t, p, s, job, failures.ReplayOptions{Tell: func(d *millracev1.ReplayedDoc) { leaves = d.Leaves }})
	if got["written"] != 1 || !slices.Equal(leaves, []string{"2-b"}) {
		t.Fatalf("replayed %v with the outcomes %v", leaves, got)
	}
	if left := records(t, p, s, job.Id); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	databasetest.SameLeaves(t, source, target)
}

func TestReplaySaysWhenADatabaseDoesNotAnswerAndLeavesTheRecords(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]func(source, target *databasetest.Database){
		"source": func(source, _ *databasetest.Database) {
			source.Server.Inject(millpond.Fault{Status: 503, Body: `{"error":"service_unavailable","reason":"later"}`})
		},
		"target": func(_, target *databasetest.Database) {
			target.Server.Inject(millpond.Fault{Status: 503, Body: `{"error":"service_unavailable","reason":"later"}`})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := databasetest.New(t, millpond.Options{})
			target, _ := strict(t)
			source.Fill(t, 0, 10)
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
			s := openStore(t, p)
			job := p.Submit(source, target, "")
			p.Finish(job.Id)
			fails(source, target)
			var told *millracev1.ReplayedDoc
			got := replay(t, p, s, job, failures.ReplayOptions{Tell: func(d *millracev1.ReplayedDoc) { told = d }})
			if got["failed"] != 1 || told.Status != 503 || told.Error != "service_unavailable" {
				t.Fatalf("outcomes %v, %v", got, told)
			}
			if left := records(t, p, s, job.Id); len(left) != 1 || left[0].Attempts != 1 || left[0].Status != http.StatusForbidden {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A replay whose services are killed at any moment, and that is repeated by others at the same
// time, ends with every document written and counted once.
func TestReplaySurvivesKilledServicesAndOtherReplays(t *testing.T) {
	t.Parallel()
	const docs = 300
	source := databasetest.New(t, millpond.Options{})
	var mended atomic.Bool
	target := databasetest.New(t, millpond.Options{Validate: func(string, string, []byte) error {
		if !mended.Load() {
			return millpond.Forbidden("not yet")
		}
		return nil
	}})
	source.Fill(t, 0, docs)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(fetcher.Name, writer.Name)})
	s := openStore(t, p)
	processes := []*pipelinetest.Process{p.Run(fetcher.Name), p.Run(writer.Name)}
	// Continuous: replays do not disturb a run, nor it them.
	job := p.Submit(source, target, `,"continuous":true`)
	p.Await("all are rejected", func() bool {
		n, err := s.Count(p.Context(), job.Id)
		return err == nil && n == docs
	})
	mended.Store(true)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if _, err := s.Replay(p.Context(), job, failures.ReplayOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 2 {
		written := len(target.Leaves(t))
		p.Await("the replays go on", func() bool { return len(target.Leaves(t)) > written || written == docs })
		for i, name := range []string{fetcher.Name, writer.Name} {
			processes[i].Kill()
			processes[i] = p.Run(name)
		}
	}
	group.Wait()
	databasetest.SameLeaves(t, source, target)
	if left := records(t, p, s, job.Id); len(left) != 0 {
		t.Errorf("left: %d", len(left))
	}
	source.Fill(t, docs, 10)
	p.Await("the job goes on", func() bool { return len(target.Leaves(t)) == docs+10 })
	if j := p.Job(job.Id); j.State != string(replication.Running) || j.ErrorCount != 0 {
		t.Errorf("%s: %s", j.State, j.Reason)
	}
}

func TestReplayOfAJobThatIsNoMoreSaysSo(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	target, _ := strict(t)
	source.Fill(t, 0, 10)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	s := openStore(t, p)
	job := p.Submit(source, target, "")
	p.Finish(job.Id)
	p.Cancel(job.Id)
	var told *millracev1.ReplayedDoc
	got := replay(t, p, s, job, failures.ReplayOptions{Tell: func(d *millracev1.ReplayedDoc) { told = d }})
	if got["failed"] != 1 || !strings.Contains(told.Reason, fmt.Sprint(job.Id)) {
		t.Fatalf("outcomes %v, %v", got, told)
	}
	if err := s.RemoveAll(p.Context(), job.Id); err != nil {
		t.Fatal(err)
	}
	if left := records(t, p, s, job.Id); len(left) != 0 || len(p.Messages(p.Broker().Streams().Refused, ">")) != 0 {
		t.Errorf("left: %v", left)
	}
}
