package pipelinetest

import (
	"fmt"

	"github.com/nats-io/nuid"

	"millrace/pkg/broker"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
)

// Feed has one finite reading of the source serve several jobs, one for each target, without a
// replicator: it is what the stages make of a feed with a roster that a test is about. change may set
// more of each job, of which the roster has the filter; it may be nil.
func (p *Pipeline) Feed(source *databasetest.Database, targets []*databasetest.Database, batch uint32, change func(i int, job *millracev1.Job)) (*millracev1.Feed, []*millracev1.Job) {
	p.t.Helper()
	feed := &millracev1.Feed{
		Id: broker.Token(nuid.Next()), Site: p.config.Site, Since: []byte("0"), Style: "all_docs", BatchRows: batch, Window: 32,
	}
	jobs := make([]*millracev1.Job, len(targets))
	for i, target := range targets {
		// Each is another replication, whatever its filter.
		jobs[i] = p.Submit(source, target, fmt.Sprintf(`,"worker_batch_size":%d`, batch))
		job, revision, err := p.jobs.Read(p.Context(), jobs[i].Id)
		if err != nil {
			p.t.Fatal(err)
		}
		job.Run, job.Active, job.Feed = 1, true, feed.Id
		if change != nil {
			change(i, job)
		}
		if _, err := p.jobs.Write(p.Context(), job, revision); err != nil {
			p.t.Fatal(err)
		}
		jobs[i] = job
		feed.Source = job.Source
		feed.Roster = append(feed.Roster, &millracev1.RosterEntry{Job: job.Id, Run: 1, TargetSite: job.TargetSite})
	}
	if _, err := p.feeds.Write(p.Context(), feed, 0); err != nil {
		p.t.Fatal(err)
	}
	return feed, jobs
}

// Done are all records of what is finished of a job's batches.
func (p *Pipeline) Done(job string) []*millracev1.Done {
	p.t.Helper()
	var all []*millracev1.Done
	for _, e := range p.Messages(p.Broker().Streams().Done, p.Broker().Subjects().Done(job)) {
		d := &millracev1.Done{}
		p.Decode(e, d)
		all = append(all, d)
	}
	return all
}
