package replicator_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/replicator/replicator"
)

// owned writes documents of owners, as edits of what is there.
func owned(t *testing.T, d *databasetest.Database, rev int, owners ...string) {
	t.Helper()
	var docs []string
	for i, owner := range owners {
		doc := fmt.Sprintf(`{"_id":"doc-%d","_rev":"%d-%08x","owner":%q}`, i, rev, rev*1000+i, owner)
		if rev > 1 {
			doc = fmt.Sprintf(`{"_id":"doc-%d","_rev":"%d-%08x","owner":%q,"_revisions":{"start":%d,"ids":["%08x","%08x"]}}`,
				i, rev, rev*1000+i, owner, rev, rev*1000+i, (rev-1)*1000+i)
		}
		docs = append(docs, doc)
	}
	d.Write(t, docs...)
}

func ids(t *testing.T, d *databasetest.Database) string {
	t.Helper()
	return strings.Join(slices.Sorted(maps.Keys(d.Leaves(t))), " ")
}

func TestFilteredJobsOfOneReading(t *testing.T) {
	t.Parallel()
	for name, follow := range map[string]bool{"one-shot": false, "continuous": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, to := databasetest.New(t, millpond.Options{}), targets(t, 9)
			source.Write(t,
				`{"_id":"_design/d","_rev":"1-aa","filters":{"joe":"function(doc, req) { return doc.owner == req.query.who; }"},"views":{"v":{"map":"function(doc) { if (doc.n > 1) emit(doc.n); }"}}}`,
				`{"_id":"a","_rev":"1-aa","owner":"joe","n":1}`, `{"_id":"b","_rev":"1-aa","owner":"ann","n":2}`,
				`{"_id":"c","_rev":"1-aa","owner":"joe","n":3}`, `{"_id":"d","_rev":"1-aa","owner":"joe","_deleted":true}`,
				`{"_id":"e","_rev":"1-aa","owner":"joe","n":1}`, `{"_id":"e","_rev":"1-bb","owner":"ann","n":5}`,
			)
			source.PutAttachment(t, "f", "text", "hello")
			read := watchReadings(source)
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Stages()})
			cases := []struct{ filter, want string }{
				{``, "_design/d a b c d e f"},
				{`,"selector":{"owner":"joe"}`, "a c d e"},
				{`,"selector":{"owner":{"$in":["ann","sue"]}}`, "b e"},
				{`,"selector":{"_attachments.text":{"$exists":true}}`, "f"},
				{`,"filter":"d/joe","query_params":{"who":"joe"}`, "a c d e"},
				{`,"filter":"_view","query_params":{"view":"d/v"}`, "b c e"},
				{`,"filter":"_design"`, "_design/d"},
				{`,"skip_deletes":true`, "_design/d a b c e f"},
				{`,"selector":{"owner":"joe"},"skip_deletes":true`, "a c e"},
			}
			options := `,"worker_batch_size":4`
			if follow {
				options = follows
			}
			var jobs []*millracev1.Job
			for i, c := range cases {
				jobs = append(jobs, p.Submit(source, to[i], options+c.filter))
			}
			if !follow {
				together(t, p, jobs)
			}
			p.Run(replicator.Name)
			for i, c := range cases {
				if !follow {
					p.Finish(jobs[i].Id)
				}
				p.Await(fmt.Sprintf("%s chooses what it should", c.filter), func() bool { return len(to[i].Leaves(t)) >= len(strings.Fields(c.want)) })
				if got := ids(t, to[i]); got != c.want {
					t.Errorf("%s: %s, want %s", c.filter, got, c.want)
				}
			}
			if leaves := to[1].Leaves(t)["e"]; len(leaves) != 1 || leaves[0] != "1-aa" {
				t.Errorf("a leaf that was not chosen came: %v", leaves)
			}
			if n := read.of("normal"); n != 1 {
				t.Errorf("the source was read %d times", n)
			}
		})
	}
}

// What leaves a filter stays at the target as it was; what enters it comes.
func TestDocumentsMoveInAndOutOfFilters(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 3)
	owned(t, source, 1, "joe", "ann", "joe")
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	for i, owner := range []string{"joe", "ann", "sue"} {
		p.Submit(source, to[i], follows+fmt.Sprintf(`,"selector":{"owner":%q}`, owner))
	}
	has := func(target int, want string) {
		t.Helper()
		p.Await(fmt.Sprintf("target %d has %s", target, want), func() bool {
			var got []string
			for id, revs := range to[target].Leaves(t) {
				got = append(got, id+" "+revs[0])
			}
			slices.Sort(got)
			return strings.Join(got, ", ") == want
		})
	}
	has(0, "doc-0 1-000003e8, doc-2 1-000003ea")
	has(1, "doc-1 1-000003e9")
	owned(t, source, 2, "ann", "sue", "joe")
	has(0, "doc-0 1-000003e8, doc-2 2-000007d2")
	has(1, "doc-0 2-000007d0, doc-1 1-000003e9")
	has(2, "doc-1 2-000007d1")
}

// A function that is another one ends the job: it goes on under another id.
func TestFilterFunctionThatChangesEndsTheJob(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Write(t, `{"_id":"_design/d","_rev":"1-aa","filters":{"f":"function(doc) { return doc._id == 'a'; }"}}`, `{"_id":"a","_rev":"1-aa"}`)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), FailPermanent: true})
	job := p.Submit(source, target, follows+`,"filter":"d/f"`)
	p.Await("the document is there", func() bool { return ids(t, target) == "a" })
	source.Write(t, `{"_id":"_design/d","_rev":"2-bb","_revisions":{"start":2,"ids":["bb","aa"]},"filters":{"f":"function(doc) { return true; }"}}`, `{"_id":"b","_rev":"1-aa"}`)
	j := p.AwaitJob(job.Id, "ends", func(j *millracev1.Job) bool { return j.State == string(replication.Failed) })
	if !strings.Contains(j.Reason, "filter_changed") {
		t.Errorf("it ended with %q", j.Reason)
	}
	if got := ids(t, target); got != "a" {
		t.Errorf("the target has %s", got)
	}
	again := p.Submit(source, target, follows+`,"filter":"d/f"`)
	if again.Id == job.Id {
		t.Fatal("the id is the same")
	}
	p.Await("all is there", func() bool { return ids(t, target) == "_design/d a b" })
}

// A hostile function is its own job's trouble.
func TestHostileFunctionDelaysNobody(t *testing.T) {
	t.Parallel()
	source, to := databasetest.New(t, millpond.Options{}), targets(t, 3)
	source.Write(t, `{"_id":"_design/d","_rev":"1-aa","filters":{"throws":"function(doc) { throw new Error('no way'); }","loops":"function(doc) { while (doc._id != '_design/d') {} return true; }"}}`)
	source.Fill(t, 0, 20)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	throws := p.Submit(source, to[0], follows+`,"filter":"d/throws"`)
	loops := p.Submit(source, to[1], follows+`,"filter":"d/loops"`)
	p.Submit(source, to[2], follows+`,"selector":{"n":{"$gte":0}}`)
	p.Await("the other has everything", func() bool { return len(to[2].Leaves(t)) == 20 })
	j := p.AwaitJob(throws.Id, "says what its function did", func(j *millracev1.Job) bool { return j.ErrorCount > 0 && j.Reason != "" })
	if !strings.Contains(j.Reason, "filters.throws of _design/d") || !strings.Contains(j.Reason, "no way") {
		t.Errorf("reason %q", j.Reason)
	}
	source.Fill(t, 20, 20)
	p.Await("the other has what is new", func() bool { return len(to[2].Leaves(t)) == 40 })
	p.Cancel(throws.Id)
	p.Cancel(loops.Id)
}
