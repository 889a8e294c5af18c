package writer_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/revs-diff/revsdiff"
)

// put puts a document into BODIES under an id of its own and returns the reference to it.
func put(t *testing.T, p *pipelinetest.Pipeline, prefix, id, rev, doc string) *millracev1.BodyRef {
	t.Helper()
	payload, err := proto.Marshal(&millracev1.Bodies{Docs: []byte(doc)})
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(p.Broker().Subjects().Bodies("any"))
	m.Data = payload
	m.Header.Set("Nats-Msg-Id", prefix+".7")
	ack, err := p.Broker().JetStream().PublishMsg(p.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return &millracev1.BodyRef{
		Sequence: ack.Sequence, Number: 7, Prefix: prefix,
		Docs: []*millracev1.DocRef{{Id: id, Rev: rev, Length: uint32(len(doc))}},
	}
}

// What was read for a filter goes from the selector's message to the target. A reference whose message is
// not the one that it names is to something else, and the document is fetched.
func TestBodiesThatWereHandedOverAreWrittenAsTheyAre(t *testing.T) {
	t.Parallel()
	const handed, fetched = `{"_id":"d","_rev":"1-a","by":"hand"}`, `{"_id":"d","_rev":"1-a"}`
	for name, c := range map[string]struct{ prefix, want string }{
		"the message that is meant": {"selector", handed},
		"another message":           {"another", fetched},
	} {
		source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
		source.Write(t, fetched)
		p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(revsdiff.Name)})
		job := p.Submit(source, target, "")
		selected := &millracev1.SelectedBatch{}
		p.Decode(p.AwaitMessages(p.Broker().Streams().Selected, ">", 1)[0], selected)
		ref := put(t, p, "selector", "d", "1-a", handed)
		ref.Prefix = c.prefix
		p.Send(p.Broker().Subjects().Missing(job.SourceSite, job.Id), &millracev1.MissingBatch{
			Position: selected.Position, Bodies: []*millracev1.BodyRef{ref},
			Docs: []*millracev1.MissingDoc{{Id: "d", Revs: []string{"1-a"}}},
		})
		p.Await("the document arrives", func() bool { return len(target.Leaves(t)) == 1 })
		got, err := target.Get(t.Context(), "d", nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(string(got)) != c.want {
			t.Errorf("%s: the target has %s", name, got)
		}
	}
}
