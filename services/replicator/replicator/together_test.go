package replicator_test

import (
	"fmt"
	"strings"
	"testing"

	"millrace/pkg/millpond"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

func entries(to []*databasetest.Database, terms func(i int) string) string {
	var all []string
	for i, target := range to {
		all = append(all, fmt.Sprintf(`{"target":%q%s}`, target.Address(), terms(i)))
	}
	return strings.Join(all, ",")
}

func TestTargetsOfOneSubmissionReadTheSourceOnce(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 6)
	source.Fill(t, 0, 40)
	read := watchReadings(source)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	jobs := p.SubmitAll(source, entries(to, func(i int) string {
		if i == 5 {
			return `,"doc_ids":["doc-000003"]`
		}
		return ""
	}), small)
	together := map[string]bool{}
	for i, job := range jobs {
		done := p.Finish(job.Id)
		together[done.Together] = true
		if want := uint64(40); i < 5 && done.Totals.DocsWritten != want {
			t.Errorf("target %d got %d documents", i, done.Totals.DocsWritten)
		}
		if !strings.HasPrefix(done.TargetUrl, to[i].Address()) {
			t.Errorf("job %d is of another target", i)
		}
	}
	p.AwaitLeaves(source, to[:5]...)
	if leaves := to[5].Leaves(t); len(leaves) != 1 || leaves["doc-000003"] == nil {
		t.Errorf("the target with doc_ids got %v", leaves)
	}
	if n := read.of("normal"); n != 1 {
		t.Errorf("the source was read %d times", n)
	}
	if len(together) != 1 || together[""] {
		t.Errorf("submitted together: %v", together)
	}
	if again := p.SubmitAll(source, entries(to[:1], func(int) string { return "" }), small); together[again[0].Together] || again[0].Together == "" {
		t.Errorf("another submission, of one target, is together with %q", again[0].Together)
	}
}

func TestWhatAnInterruptedSubmissionHeldIsBegunByTheNext(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 2)
	source.Fill(t, 0, 5)
	p := pipelinetest.Start(t, pipelinetest.Options{})
	both := entries(to, func(int) string { return "" })
	var ids []string
	for _, job := range p.SubmitAll(source, both, small) {
		held, revision, err := p.Jobs().Read(p.Context(), job.Id)
		if err != nil || held.Held {
			t.Fatalf("held %v, %v", held.GetHeld(), err)
		}
		held.Held = true
		if _, err := p.Jobs().Write(p.Context(), held, revision); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, job.Id)
	}
	for _, name := range pipelinetest.All() {
		p.Run(name)
	}
	other := targets(t, 1)
	p.Finish(p.Submit(source, other[0], small).Id)
	for _, id := range ids {
		if job := p.Job(id); job.Run > 0 {
			t.Errorf("a held job has begun: %v", job)
		}
	}
	for _, job := range p.SubmitAll(source, both, small) {
		p.Finish(job.Id)
	}
	p.AwaitLeaves(source, to...)
}
