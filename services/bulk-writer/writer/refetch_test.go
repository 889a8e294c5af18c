package writer_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/bulk-writer/writer"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

const (
	photo = "iVBORw0KGgo="
	large = 600 << 10 // bytes of two attachments: too large together to travel inside a document
)

// filled is a source with documents of every kind that BODIES holds: small ones, one with an
// attachment inside, one whose attachment travels alone.
func filled(t *testing.T) (source, target *databasetest.Database) {
	t.Helper()
	source, target = databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 18)
	source.Write(t, `{"_id":"photo","_rev":"1-a","_attachments":{"p.png":{"content_type":"image/png","data":"`+photo+`"}}}`)
	source.PutAttachment(t, "large", "a.bin", strings.Repeat("0123456789", 2*large/10))
	return source, target
}

func checkCounters(t *testing.T, done *millracev1.Job, docs uint64) {
	t.Helper()
	c := done.Totals
	if c.DocsRead != docs || c.DocsWritten != docs || c.MissingChecked != docs || c.MissingFound != docs || c.DocWriteFailures != 0 {
		t.Errorf("counted %v of %d documents", c, docs)
	}
}

func attachment(t *testing.T, d *databasetest.Database, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+"/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is read only
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, answer.Status, err)
	}
	return string(body)
}

// lose is what happens to the bodies before the writer reads them.
func testBodiesLost(t *testing.T, lose func(p *pipelinetest.Pipeline)) {
	t.Parallel()
	source, target := filled(t)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name)})
	job := p.Submit(source, target, `,"worker_batch_size":5`)
	p.AwaitMessages(p.Broker().Streams().Write, ">", 4)
	run := p.Job(job.Id).Run
	lose(p)
	p.Run(writer.Name)
	done := p.Finish(job.Id)
	databasetest.SameLeaves(t, source, target)
	checkCounters(t, done, 20)
	if done.Run != run {
		t.Errorf("run %d took the place of run %d", done.Run, run)
	}
	if got := attachment(t, target, "large/a.bin"); len(got) != 2*large {
		t.Errorf("the large attachment has %d bytes", len(got))
	}
}

func TestBodiesThatAreGoneAreFetchedAgain(t *testing.T) {
	testBodiesLost(t, func(p *pipelinetest.Pipeline) { p.Purge(p.Broker().Streams().Bodies) })
}

// A slow target: its queues are full to the source when the bodies expire. Each part that is to
// be written has to be asked for again, and whoever fetches it waits for room where it is written.
func TestBodiesThatAreGoneWhileAllQueuesAreFullAreFetchedAgain(t *testing.T) {
	t.Parallel()
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	const docs = 200
	source.Fill(t, 0, docs)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name)})
	job := p.Submit(source, target, `,"worker_batch_size":5`)
	full, streams := p.Broker().Limits().PerSubject, p.Broker().Streams()
	p.AwaitMessages(streams.Write, ">", full)
	p.AwaitMessages(streams.Missing, ">", full)
	p.Purge(streams.Bodies)
	p.Run(writer.Name)
	checkCounters(t, p.Finish(job.Id), docs)
	databasetest.SameLeaves(t, source, target)
}

// The broker's disk was lost: sequences begin anew, and somebody else's bytes stand there.
func TestBodiesOfOthersAreNotTakenForThePartsOwn(t *testing.T) {
	testBodiesLost(t, func(p *pipelinetest.Pipeline) {
		js, name := p.Broker().JetStream(), p.Broker().Streams().Bodies
		s, err := js.Stream(p.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		config, last := s.CachedInfo().Config, s.CachedInfo().State.LastSeq
		if err := js.DeleteStream(p.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(p.Context(), config); err != nil {
			t.Fatal(err)
		}
		for i := range last {
			m := &nats.Msg{Subject: p.Broker().Subjects().Bodies("other"), Header: nats.Header{}, Data: []byte("\x0a\x02{}")}
			m.Header.Set("Nats-Msg-Id", fmt.Sprintf("other.%d", i+1))
			if _, err := js.PublishMsg(p.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The target has an ancestor without the attachment that the source believes it to have.
func TestMissingStubIsFetchedInFull(t *testing.T) {
	t.Parallel()
	source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
	target.Write(t, `{"_id":"d","_rev":"1-aaaa"}`)
	source.Write(t, `{"_id":"d","_rev":"1-aaaa","_attachments":{"p.png":{"content_type":"image/png","revpos":1,"data":"`+photo+`"}}}`)
	source.Write(t, `{"_id":"d","_rev":"2-bbbb","_revisions":{"start":2,"ids":["bbbb","aaaa"]},"_attachments":{"p.png":{"content_type":"image/png","revpos":1,"stub":true}}}`)
	source.Fill(t, 0, 4)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	done := p.Finish(p.Submit(source, target, "").Id)
	databasetest.SameLeaves(t, source, target)
	checkCounters(t, done, 5)
	if got := attachment(t, target, "d/p.png"); got != "\x89PNG\r\n\x1a\n" {
		t.Errorf("the attachment is %q", got)
	}
	if n := target.Server.Requests().Of("POST", "_bulk_docs"); n < 2 {
		t.Errorf("%d requests: the stub was not refused", n)
	}
}

func TestRefusedDocumentsAreRecordedAndTheOthersArrive(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	target := databasetest.New(t, millpond.Options{Validate: func(_, id string, _ []byte) error {
		if strings.HasSuffix(id, "7") {
			return millpond.Forbidden("no sevens")
		}
		return nil
	}})
	source.Fill(t, 0, 20)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	job := p.Submit(source, target, `,"worker_batch_size":6`)
	done := p.Finish(job.Id)
	if c := done.Totals; c.DocsWritten != 18 || c.DocWriteFailures != 2 || c.DocsRead != 20 {
		t.Errorf("counted %v", c)
	}
	failures := p.Messages(p.Broker().Streams().Failures, p.Broker().Subjects().Failures(job.Id, "*"))
	if len(failures) != 2 {
		t.Fatalf("%d records of what was refused", len(failures))
	}
	for _, e := range failures {
		r := &millracev1.Rejection{}
		p.Decode(e, r)
		if !strings.HasSuffix(r.Id, "7") || r.Error != "forbidden" || r.Reason != "no sevens" || r.Status != http.StatusForbidden || r.Stage != writer.Name || r.Time == 0 || r.Rev == "" {
			t.Errorf("recorded %v", r)
		}
	}
}

// Claims carry what is over the broker's limit; nobody notices.
func TestHugeDocumentAndHugeTreePass(t *testing.T) {
	t.Parallel()
	huge, thousands := 20<<20, 3
	if underRace { // still over every limit, and several times slower
		huge, thousands = 5<<20, 1
	}
	limits := millpond.Options{MaxDocumentSize: 64 << 20}
	source, target := databasetest.New(t, limits), databasetest.New(t, limits)
	source.Write(t, `{"_id":"huge","_rev":"1-a","x":"`+strings.Repeat("x", huge)+`"}`)
	for first := range thousands {
		var leaves []string
		for i := range 1000 {
			hash := fmt.Sprintf("%032d", 1000*first+i)
			leaves = append(leaves, fmt.Sprintf(`{"_id":"tree","_rev":"2-%[1]s","_revisions":{"start":2,"ids":[%[1]q,"a"]}}`, hash))
		}
		source.Write(t, leaves...)
	}
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	done := p.Finish(p.Submit(source, target, "").Id)
	databasetest.SameLeaves(t, source, target)
	checkCounters(t, done, uint64(1000*thousands)+1)
	if left := target.Leaves(t)["tree"]; len(left) != 1000*thousands {
		t.Errorf("%d leaves arrived", len(left))
	}
	if n := len(p.Messages(p.Broker().Streams().Claims, ">")); n == 0 {
		t.Error("nothing was over the limit: the test proves nothing")
	}
}
