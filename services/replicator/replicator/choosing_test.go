package replicator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// Each document has an owner, and each target is one owner's. What a document is when it moves to another
// owner, the one who had it does not get; a job that shares its feed with others costs the source nothing more.
func TestJobsWithSelectorsShareTheReadingOfTheirSource(t *testing.T) {
	t.Parallel()
	const owners, documents, rounds = 20, 60, 4
	source, to := databasetest.New(t, millpond.Options{}), targets(t, owners)
	read := watchReadings(source)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	var jobs []*millracev1.Job
	for i, target := range to {
		jobs = append(jobs, p.Submit(source, target, follows+fmt.Sprintf(`,"selector":{"owner":"o%d"}`, i)))
	}
	for _, j := range jobs {
		p.AwaitJob(j.Id, "follows the live feed", func(j *millracev1.Job) bool {
			f, _, err := p.Feeds().Read(t.Context(), j.Feed)
			return err == nil && f.Live
		})
	}
	feed := p.Job(jobs[0].Id).Feed
	for _, j := range jobs {
		if f := p.Job(j.Id).Feed; f != feed {
			t.Fatalf("a job reads %s, another %s", f, feed)
		}
	}
	bodies := func() int { return source.Server.Requests().Of("POST", "_bulk_get") }
	before := bodies()
	id := func(d int) string { return fmt.Sprintf("d%02d", d) }
	rev := func(round int) string { return fmt.Sprintf("%d-r%d", round, round) }
	owner := func(d, round int) int { return (d*7 + d/5*round) % owners }
	for round := 1; round <= rounds; round++ {
		var docs []string
		want := make([]map[string]string, owners)
		for d := range documents {
			var ids []string
			for r := round; r > 0; r-- {
				ids = append(ids, fmt.Sprintf("%q", rev(r)[2:]))
			}
			o := owner(d, round)
			docs = append(docs, fmt.Sprintf(`{"_id":%q,"_rev":%q,"_revisions":{"start":%d,"ids":[%s]},"owner":"o%d"}`,
				id(d), rev(round), round, strings.Join(ids, ","), o))
			if want[o] == nil {
				want[o] = map[string]string{}
			}
			want[o][id(d)] = rev(round)
		}
		source.Write(t, docs...)
		for i, target := range to {
			p.Await(fmt.Sprintf("owner %d has what is his", i), func() bool {
				leaves := target.Leaves(t)
				for id, rev := range want[i] {
					if !slices.Equal(leaves[id], []string{rev}) {
						return false
					}
				}
				return true
			})
		}
		// Each has his own by now, so nobody may have got another's.
		for i, target := range to {
			for id, revs := range target.Leaves(t) {
				if slices.Contains(revs, rev(round)) && want[i][id] == "" {
					t.Errorf("round %d: owner %d has %s %v, which is another's", round, i, id, revs)
				}
			}
		}
	}
	batches := len(p.Messages(p.Broker().Streams().Changes, p.Broker().Subjects().Changes(feed)))
	if n := bodies() - before; n > batches {
		t.Errorf("%d requests for the documents of %d batches", n, batches)
	}
	if c := read.of("continuous"); c != 1 {
		t.Errorf("the source is followed %d times", c)
	}
	for i, target := range to {
		if n := len(target.Leaves(t)); n == 0 || n == documents {
			t.Errorf("owner %d has %d documents", i, n)
		}
	}
	for _, j := range jobs {
		if job := p.Job(j.Id); job.ErrorCount != 0 || len(job.Reason) > 0 {
			t.Errorf("job %s: %s", job.State, job.Reason)
		}
	}
}
