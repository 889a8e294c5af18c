package replicator_test

import (
	"strings"
	"testing"

	"millrace/pkg/broker"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/bulk-writer/writer"
	"millrace/services/doc-fetcher/fetcher"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/replicator/replicator"
	"millrace/services/revs-diff/revsdiff"
	"millrace/services/selector/selector"
)

const small = `,"worker_batch_size":5`

// Each stage is held back until its input is there; one message of it is lost, and nobody is told.
func TestRunNoticesALostMessageAndFinishes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stage  string
		stream func(broker.Streams) string
	}{
		{selector.Name, func(s broker.Streams) string { return s.Changes }},
		{revsdiff.Name, func(s broker.Streams) string { return s.Selected }},
		{fetcher.Name, func(s broker.Streams) string { return s.Missing }},
		{writer.Name, func(s broker.Streams) string { return s.Write }},
	} {
		t.Run(c.stage, func(t *testing.T) {
			t.Parallel()
			source, target := databases(t)
			source.Fill(t, 0, 20)
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(c.stage)})
			job := p.Submit(source, target, small)
			stream := c.stream(p.Broker().Streams())
			subject := ">"
			if c.stage == selector.Name { // not the owner's marker
				subject = p.Broker().Subjects().Changes(broker.Any)
			}
			p.Lose(stream, p.AwaitMessages(stream, subject, 4)[1].Sequence)
			p.Run(c.stage)
			done := p.Finish(job.Id)
			databasetest.SameLeaves(t, source, target)
			if done.Totals.DocsWritten < 5 || done.Totals.DocsWritten > 20 {
				t.Errorf("counted %v", done.Totals)
			}
		})
	}
}

// What is lost of the logs while nobody reads them, the next owner misses.
func TestNextOwnerNoticesALostRecordAndFinishes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stage  string
		stream func(broker.Streams) string
	}{
		{selector.Name, func(s broker.Streams) string { return s.Routed }},
		{writer.Name, func(s broker.Streams) string { return s.Done }},
	} {
		t.Run(c.stage, func(t *testing.T) {
			t.Parallel()
			source, target := databases(t)
			source.Fill(t, 0, 20)
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(c.stage, replicator.Name)})
			owner := p.Run(replicator.Name)
			job := p.Submit(source, target, small)
			p.AwaitJob(job.Id, "runs", func(j *millracev1.Job) bool { return j.Active })
			s := p.Broker().Streams()
			if c.stage == selector.Name {
				p.AwaitMessages(s.Changes, p.Broker().Subjects().Changes(broker.Any), 4)
			} else {
				p.AwaitMessages(s.Write, ">", 4)
			}
			owner.Kill()
			p.Run(c.stage)
			stream := c.stream(s)
			p.Lose(stream, p.AwaitMessages(stream, ">", 4)[1].Sequence)
			p.Run(replicator.Name)
			p.Finish(job.Id)
			databasetest.SameLeaves(t, source, target)
		})
	}
}

// The log of the feed was trimmed while the job waited: the batches that are left must not
// be taken for all there were.
func TestTrimmedFeedLogSendsTheRunBackToItsCheckpoint(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 30)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(selector.Name)})
	job := p.Submit(source, target, small)
	s := p.Broker().Streams()
	batches := p.AwaitMessages(s.Changes, p.Broker().Subjects().Changes(broker.Any), 6)
	before := p.Job(job.Id).Run
	for _, e := range batches[:3] {
		p.Lose(s.Changes, e.Sequence)
	}
	p.Run(selector.Name)
	done := p.Finish(job.Id)
	databasetest.SameLeaves(t, source, target)
	if done.Run == before {
		t.Error("the run went on as if nothing had been lost")
	}
}

func TestRunIsCompleteOnlyWhenTheEndOfItsFeedIsDone(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 20)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name)})
	job := p.Submit(source, target, small)
	s := p.Broker().Streams()
	p.AwaitMessages(s.Write, ">", 4)
	p.Await("the end of the feed is routed", func() bool {
		for _, e := range p.Messages(s.Routed, ">") {
			r := &millracev1.Routed{}
			if p.Decode(e, r); r.End {
				return true
			}
		}
		return false
	})
	if j := p.Job(job.Id); !j.Active {
		t.Fatalf("the job is %s although nothing is written", j.State)
	}
	p.Run(writer.Name)
	done := p.Finish(job.Id)
	if done.Totals.DocsWritten != 20 {
		t.Errorf("counted %v", done.Totals)
	}
	databasetest.SameLeaves(t, source, target)
}

// Batches are delivered twice and out of order, at every stage (invariant 2).
func TestRepeatedAndReorderedMessagesChangeNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stage  string
		stream func(broker.Streams) string
	}{
		{selector.Name, func(s broker.Streams) string { return s.Changes }},
		{revsdiff.Name, func(s broker.Streams) string { return s.Selected }},
		{fetcher.Name, func(s broker.Streams) string { return s.Missing }},
		{writer.Name, func(s broker.Streams) string { return s.Write }},
	} {
		t.Run(c.stage, func(t *testing.T) {
			t.Parallel()
			source, target := databases(t)
			source.Fill(t, 0, 20)
			p := pipelinetest.Start(t, pipelinetest.Options{
				Services: pipelinetest.Without(c.stage), PerSubject: 32, // for what the feed's log is asked for again, too
			})
			job := p.Submit(source, target, small)
			subject := ">"
			if c.stage == selector.Name {
				subject = p.Broker().Subjects().Changes(broker.Any)
			}
			all := p.AwaitMessages(c.stream(p.Broker().Streams()), subject, 4)
			for i := range all {
				p.Repeat(all[len(all)-1-i])
			}
			p.Run(c.stage)
			done := p.Finish(job.Id).Totals
			databasetest.SameLeaves(t, source, target)
			if done.DocsWritten != 20 || done.DocsRead != 20 || done.MissingChecked != 20 || done.MissingFound != 20 || done.DocWriteFailures != 0 {
				t.Errorf("counted %v", done)
			}
		})
	}
}

func TestMessagesOfARunThatIsOverAreDropped(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 20)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name)})
	job := p.Submit(source, target, small)
	s := p.Broker().Streams()
	old := p.AwaitMessages(s.Write, ">", 4)
	p.Run(writer.Name)
	p.Finish(job.Id)
	requests := target.Server.Requests().Of("POST", "_bulk_docs")
	for _, e := range old {
		p.Repeat(e)
	}
	p.Await("the messages are dropped", func() bool { return len(p.Messages(s.Write, ">")) == 0 })
	if got := target.Server.Requests().Of("POST", "_bulk_docs"); got != requests {
		t.Errorf("%d requests for a run that is over", got-requests)
	}
	if left := p.Messages(s.Done, ">"); len(left) != 0 {
		t.Errorf("%d records of what was done", len(left))
	}
}

func TestReasonOfALostMessageIsTold(t *testing.T) {
	t.Parallel()
	source, target := databases(t)
	source.Fill(t, 0, 5)
	log := &logs{}
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name), Log: log})
	job := p.Submit(source, target, "")
	s := p.Broker().Streams()
	p.Lose(s.Write, p.AwaitMessages(s.Write, ">", 1)[0].Sequence)
	p.Run(writer.Name)
	p.Finish(job.Id)
	if !strings.Contains(log.String(), "no progress") {
		t.Error("nobody was told")
	}
}
