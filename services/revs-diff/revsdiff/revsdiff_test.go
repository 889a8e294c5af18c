package revsdiff_test

import (
	"slices"
	"testing"

	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/fetcher"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/revs-diff/revsdiff"
)

func TestOnlyWhatTheTargetLacksIsAskedFor(t *testing.T) {
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	older := []string{`{"_id":"edited","_rev":"1-aaaa"}`, `{"_id":"there","_rev":"1-aaaa"}`}
	source.Write(t, older...)
	target.Write(t, older...)
	source.Write(t, `{"_id":"edited","_rev":"2-bbbb","_revisions":{"start":2,"ids":["bbbb","aaaa"]}}`, `{"_id":"new","_rev":"1-aaaa"}`)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(fetcher.Name)})
	p.Submit(source, target, "")
	m := &millracev1.MissingBatch{}
	p.Decode(p.AwaitMessages(p.Broker().Streams().Missing, ">", 1)[0], m)
	if c := m.Counters; c.MissingChecked != 3 || c.MissingFound != 2 {
		t.Errorf("counted %v", c)
	}
	for _, d := range m.Docs {
		switch d.Id {
		case "edited":
			if !slices.Equal(d.Revs, []string{"2-bbbb"}) || !slices.Equal(d.PossibleAncestors, []string{"1-aaaa"}) {
				t.Errorf("asked for %v", d)
			}
		case "new":
			if !slices.Equal(d.Revs, []string{"1-aaaa"}) || len(d.PossibleAncestors) != 0 {
				t.Errorf("asked for %v", d)
			}
		default:
			t.Errorf("asked for %v", d)
		}
	}
	if len(m.Docs) != 2 {
		t.Errorf("%d documents", len(m.Docs))
	}
}

// A batch of which the target lacks nothing is done, without the other stages.
func TestBatchThatIsThereIsDone(t *testing.T) {
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	for _, d := range []*databasetest.Database{source, target} {
		d.Write(t, `{"_id":"a","_rev":"1-aaaa"}`, `{"_id":"b","_rev":"1-aaaa"}`)
	}
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(fetcher.Name)})
	done := p.Finish(p.Submit(source, target, "").Id)
	if c := done.Totals; c.MissingChecked != 2 || c.MissingFound != 0 || c.DocsRead != 0 {
		t.Errorf("counted %v", c)
	}
}

func TestTargetThatDoesNotAnswerCrashesTheRun(t *testing.T) {
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 3)
	heal := target.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_revs_diff"), Status: 500, Body: `{"error":"x"}`})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, "")
	p.AwaitJob(job.Id, "crashes", func(j *millracev1.Job) bool { return j.State == string(replication.Crashing) })
	heal()
	p.Finish(job.Id)
	databasetest.SameLeaves(t, source, target)
}

// One document that the target cannot be asked about costs the others nothing but that they
// are read and written again.
func TestTargetThatRefusesTheQuestionIsTakenToLackEverything(t *testing.T) {
	for _, status := range []int{400, 413} {
		source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
		source.Fill(t, 0, 3)
		target.Server.Inject(millpond.Fault{
			Match: millpond.Matching("", "/_revs_diff"), Status: status, Body: `{"error":"illegal_docid","reason":"Doc id must be of form partition:id"}`,
		})
		p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
		done := p.Finish(p.Submit(source, target, "").Id)
		if c := done.Totals; c.MissingChecked != 3 || c.MissingFound != 3 || c.DocsWritten != 3 {
			t.Errorf("%d: counted %v", status, c)
		}
		databasetest.SameLeaves(t, source, target)
	}
}

// A batch that was routed twice, by the feed and by a replay, is not done with nothing because what was
// missing has arrived meanwhile.
func TestBatchThatComesAgainIsNotDoneBeforeItIs(t *testing.T) {
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	docs := []string{`{"_id":"a","_rev":"1-aaaa"}`, `{"_id":"b","_rev":"1-aaaa"}`}
	source.Write(t, docs...)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(fetcher.Name, revsdiff.Name)})
	p.Submit(source, target, "")
	streams := p.Broker().Streams()
	selected := p.AwaitMessages(streams.Selected, ">", 1)[0]
	p.Run(revsdiff.Name)
	p.AwaitMessages(streams.Missing, ">", 1)
	target.Write(t, docs...)
	p.Repeat(selected)
	p.Await("the batch is taken twice", func() bool { return len(p.Messages(streams.Selected, ">")) == 0 })
	if done := p.Messages(streams.Done, ">"); len(done) != 0 {
		t.Errorf("%d records of what is done", len(done))
	}
	p.Run(fetcher.Name)
	p.Await("the batch is done", func() bool { return len(p.Messages(streams.Done, ">")) > 0 })
	done := &millracev1.Done{}
	p.Decode(p.Messages(streams.Done, ">")[0], done)
	if c := done.Counters; c.MissingChecked != 2 || c.MissingFound != 2 || c.DocsWritten != 2 {
		t.Errorf("counted %v", c)
	}
}
