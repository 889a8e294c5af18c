package writer_test

import (
	"fmt"
	"strings"
	"testing"

	"millrace/pkg/millpond"
	"millrace/services/bulk-writer/writer"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// veryLarge is more than passes through BODIES: it has a content of its own in ATTACHMENTS.
const veryLarge = 5 << 20

// cellar is a source with documents that have each a large attachment of its own, and some without.
func cellar(t *testing.T, large int) *databasetest.Database {
	t.Helper()
	source := databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 10)
	for i := range large {
		source.PutAttachment(t, fmt.Sprintf("large%d", i), "a.bin", fmt.Sprint(i)+strings.Repeat("x", veryLarge-1))
	}
	return source
}

func checkLarge(t *testing.T, target *databasetest.Database, large int) {
	t.Helper()
	for i := range large {
		if got := attachment(t, target, fmt.Sprintf("large%d/a.bin", i)); len(got) != veryLarge || !strings.HasPrefix(got, fmt.Sprint(i)+"x") {
			t.Errorf("large%d has an attachment of %d bytes, %.5q", i, len(got), got)
		}
	}
}

func TestLargeAttachmentsOfSeveralTargetsAreReadOnce(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	for _, id := range []string{"a", "b"} {
		source.PutAttachment(t, id, "a.bin", strings.Repeat("x", veryLarge))
	}
	targets := []*databasetest.Database{databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})}
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	var jobs []string
	for _, target := range targets {
		jobs = append(jobs, p.Submit(source, target, "").Id)
	}
	for i, target := range targets {
		checkCounters(t, p.Finish(jobs[i]), 2)
		databasetest.SameLeaves(t, source, target)
		if got := attachment(t, target, "b/a.bin"); got != strings.Repeat("x", veryLarge) {
			t.Errorf("the attachment has %d bytes", len(got))
		}
	}
	if n := source.Server.Requests().Of("GET", "attachment"); n != 1 {
		t.Errorf("one content of two documents was read %d times for two targets", n)
	}
}

// Room for one at a time: all pass, and none waits for ever.
func TestLargeAttachmentsPassThroughLittleRoom(t *testing.T) {
	t.Parallel()
	const large = 6
	source, target := cellar(t, large), databasetest.New(t, millpond.Options{})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), AttachmentsCapacity: veryLarge + veryLarge/2})
	done := p.Finish(p.Submit(source, target, `,"worker_batch_size":4`).Id)
	databasetest.SameLeaves(t, source, target)
	checkCounters(t, done, 10+large)
	checkLarge(t, target, large)
	if n := source.Server.Requests().Of("GET", "attachment"); n != large {
		t.Errorf("%d attachments were read %d times", large, n)
	}
}

func TestLargeAttachmentThatHasNoRoomIsRecordedAndTheOthersArrive(t *testing.T) {
	t.Parallel()
	source, target := cellar(t, 1), databasetest.New(t, millpond.Options{})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), AttachmentsCapacity: veryLarge - 1})
	done := p.Finish(p.Submit(source, target, "").Id)
	if c := done.Totals; c.DocsWritten != 10 || c.DocWriteFailures != 1 {
		t.Errorf("counted %v", c)
	}
}

// What was written gives its room back, and what is to be written keeps it: the writer died, and
// another reads what stands there.
func TestContentsThatAreGoneAreFetchedAgain(t *testing.T) {
	t.Parallel()
	const large = 2
	source, target := cellar(t, large), databasetest.New(t, millpond.Options{})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name)})
	job := p.Submit(source, target, "")
	streams := p.Broker().Streams()
	p.AwaitMessages(streams.Write, ">", large+1)
	p.Purge(streams.Attachments)
	p.Run(writer.Name)
	checkCounters(t, p.Finish(job.Id), 10+large)
	databasetest.SameLeaves(t, source, target)
	checkLarge(t, target, large)
}

func TestContentsThatStandThereAreNotFetchedAgainForAnotherWriter(t *testing.T) {
	t.Parallel()
	const large = 2
	source, target := cellar(t, large), databasetest.New(t, millpond.Options{})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name)})
	job := p.Submit(source, target, "")
	p.AwaitMessages(p.Broker().Streams().Write, ">", large+1)
	p.Run(writer.Name)
	checkCounters(t, p.Finish(job.Id), 10+large)
	checkLarge(t, target, large)
	if n := source.Server.Requests().Of("GET", "attachment"); n != large {
		t.Errorf("read %d times", n)
	}
}

// The target has an ancestor without the attachment that the source believes it to have.
func TestMissingStubOfALargeAttachmentIsFetchedInFull(t *testing.T) {
	t.Parallel()
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	source.PutAttachment(t, "d", "a.bin", strings.Repeat("x", veryLarge))
	rev := source.Leaves(t)["d"][0]
	target.Write(t, `{"_id":"d","_rev":"`+rev+`"}`)
	source.Write(t, `{"_id":"d","_rev":"2-bbbb","_revisions":{"start":2,"ids":["bbbb","`+strings.TrimPrefix(rev, "1-")+
		`"]},"_attachments":{"a.bin":{"content_type":"application/octet-stream","revpos":1,"stub":true}}}`)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	checkCounters(t, p.Finish(p.Submit(source, target, "").Id), 1)
	databasetest.SameLeaves(t, source, target)
	if got := attachment(t, target, "d/a.bin"); len(got) != veryLarge {
		t.Errorf("the attachment has %d bytes", len(got))
	}
}

// A job that was removed leaves nothing that keeps others from their room.
func TestRoomOfAJobThatIsOverIsForOthers(t *testing.T) {
	t.Parallel()
	source, target, other := cellar(t, 2), databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name), AttachmentsCapacity: veryLarge + 1})
	job := p.Submit(source, target, "")
	p.AwaitMessages(p.Broker().Streams().Attachments, ">", veryLarge/(448<<10))
	p.Cancel(job.Id)
	p.Run(writer.Name)
	checkCounters(t, p.Finish(p.Submit(source, other, "").Id), 12)
	checkLarge(t, other, 2)
}

// A byte is changed where the content is stored: the request is broken before its last bytes, and
// the content stored anew.
func TestContentWithAChangedByteNeverArrives(t *testing.T) {
	t.Parallel()
	source, target := cellar(t, 1), databasetest.New(t, millpond.Options{})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name)})
	job := p.Submit(source, target, "")
	streams := p.Broker().Streams()
	p.AwaitMessages(streams.Write, ">", 2)
	chunks := p.Messages(streams.Attachments, ">")
	p.Purge(streams.Attachments)
	for i, c := range chunks {
		if i == 3 {
			c.Data[100]++
		}
		c.Header.Del("Nats-Msg-Id")
		p.Publish(c.Subject, c.Data, c.Header)
	}
	p.Run(writer.Name)
	checkCounters(t, p.Finish(job.Id), 11)
	databasetest.SameLeaves(t, source, target)
	checkLarge(t, target, 1)
	if n := source.Server.Requests().Of("GET", "attachment"); n != 2 {
		t.Errorf("the attachment was read %d times", n)
	}
}
