package pipelinetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/replicator/replicator"
)

// Submit makes a replication a job. Options are further members of its document, each with
// a comma before it.
func (p *Pipeline) Submit(source, target *databasetest.Database, options string) *millracev1.Job {
	p.t.Helper()
	return p.SubmitDocument(fmt.Appendf(nil, `{"source":%q,"target":%q,"checkpoint_interval":20,"retries_per_request":0%s}`,
		source.Address(), target.Address(), options))
}

// SubmitDocument makes a replication document a job.
func (p *Pipeline) SubmitDocument(doc []byte) *millracev1.Job {
	p.t.Helper()
	spec, err := replication.ParseSpec(doc)
	if err != nil {
		p.t.Fatal(err)
	}
	job, err := p.registry.Submit(p.Context(), spec.Jobs()[0])
	if err != nil {
		p.t.Fatal(err)
	}
	return job
}

// Registry is the pipeline's registry.
func (p *Pipeline) Registry() *replicator.Registry { return p.registry }

// SubmitAll makes a replication document a job for each of its targets.
func (p *Pipeline) SubmitAll(source *databasetest.Database, targets, options string) []*millracev1.Job {
	p.t.Helper()
	spec, err := replication.ParseSpec(fmt.Appendf(nil, `{"source":%q,"targets":[%s],"checkpoint_interval":20,"retries_per_request":0%s}`,
		source.Address(), targets, options))
	if err != nil {
		p.t.Fatal(err)
	}
	jobs, err := p.registry.SubmitAll(p.Context(), spec)
	if err != nil {
		p.t.Fatal(err)
	}
	return jobs
}

// Cancel removes a job.
func (p *Pipeline) Cancel(id string) {
	p.t.Helper()
	if err := p.registry.Cancel(p.Context(), id); err != nil {
		p.t.Fatal(err)
	}
}

// Job is the job as it stands now.
func (p *Pipeline) Job(id string) *millracev1.Job {
	p.t.Helper()
	job, _, err := p.jobs.Read(p.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return job
}

// Progress is how far the job's checkpoints have got; nil when nothing is known.
func (p *Pipeline) Progress(id string) *millracev1.Progress {
	p.t.Helper()
	progress, err := p.jobs.Progress(p.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return progress
}

// Finish waits until the job is at its end, which has to be a good one.
func (p *Pipeline) Finish(id string) *millracev1.Job {
	p.t.Helper()
	job := p.AwaitJob(id, "is at its end", func(j *millracev1.Job) bool { return replication.State(j.State).Terminal() })
	if job.State != string(replication.Completed) {
		p.t.Fatalf("job %s: %s", job.State, job.Reason)
	}
	return job
}

// AwaitJob waits until what is said of the job is true.
func (p *Pipeline) AwaitJob(id, what string, is func(*millracev1.Job) bool) *millracev1.Job {
	p.t.Helper()
	var job *millracev1.Job
	p.Await("the job "+what, func() bool {
		job = p.Job(id)
		return is(job)
	})
	return job
}

// Await asks again and again until the answer is yes.
func (p *Pipeline) Await(what string, is func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), Patience)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !is() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			p.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// AwaitLeaves waits until every target has the source's leaves.
func (p *Pipeline) AwaitLeaves(source *databasetest.Database, targets ...*databasetest.Database) {
	p.t.Helper()
	for i, target := range targets {
		p.Await(fmt.Sprintf("target %d has what the source has", i), func() bool {
			return maps.EqualFunc(source.Leaves(p.t), target.Leaves(p.t), slices.Equal)
		})
	}
}
