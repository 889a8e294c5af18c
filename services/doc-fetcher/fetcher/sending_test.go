package fetcher

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/bodies"
)

// gate is an outlet whose job has no room until it is opened.
type gate struct {
	shelf
	open chan struct{}
}

func (g *gate) part(ctx context.Context, p *millracev1.WriteBatch) error {
	select {
	case <-g.open:
		return g.shelf.part(ctx, p)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// claimed is a packer that packs for others as well, of documents that are a part each.
func claimed(out outlet, index *bodies.Index, n int) (*packer, []bodies.Question, *bodies.Claim) {
	p := newPacker(out, batch(), "a1")
	var questions []bodies.Question
	for i := range n {
		questions = append(questions, question(want{id: fmt.Sprint(i), rev: "1-a"}))
	}
	claim, _ := index.Claim("f", questions, 0)
	p.share(claim)
	return p, questions, claim
}

// A job for which there is no room waits with its fetching, as always, until others want what it has taken on.
func TestJobWithoutRoomFetchesOnForThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const docs = 4
		out, index := &gate{open: make(chan struct{})}, bodies.New(bodies.Options{Age: 1 << 60})
		p, questions, claim := claimed(out, index, docs)
		packed := 0
		go func() {
			for i := range docs {
				if err := p.add(t.Context(), meta(fmt.Sprint(i), "1-a"), make([]byte, partBytes), false); err != nil {
					t.Error(err)
				}
				claim.Answered(questions[i].Revision, []bodies.Revision{questions[i].Revision})
				packed++
			}
		}()
		synctest.Wait()
		if packed != 0 {
			t.Errorf("%d documents are packed of a job without room", packed)
		}
		_, split := index.Claim("f", questions, 0)
		came := 0
		go func() {
			for _, o := range split.Others {
				leaves, ok, err := o.Flight.Wait(t.Context(), questions[o.Question])
				if err != nil || !ok || leaves[0].Message.Prefix != "a1" {
					t.Errorf("waited for %v, %t, %v", leaves, ok, err)
				}
				came++
			}
		}()
		synctest.Wait()
		if packed != docs || came != docs {
			t.Errorf("%d documents are packed, and %d known to others", packed, came)
		}
		if len(out.parts) != 0 {
			t.Errorf("%d parts are published", len(out.parts))
		}
		close(out.open)
		if err := p.finish(t.Context()); err != nil {
			t.Error(err)
		}
		for i, part := range out.parts {
			if part.Part.Number != uint32(i+1) || part.Part.Last != (i == docs) {
				t.Errorf("part %d is %v", i+1, part.Part)
			}
		}
		if len(out.parts) != docs+1 {
			t.Errorf("%d parts", len(out.parts))
		}
	})
}

// A part that cannot be published fails the batch, and none is published behind it.
func TestPartThatIsNotPublishedFailsTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out, index := &gate{open: make(chan struct{})}, bodies.New(bodies.Options{Age: 1 << 60})
		p, questions, _ := claimed(out, index, 1)
		_, split := index.Claim("f", questions, 0)
		wait, stop := context.WithCancel(t.Context())
		stop()
		_, _, _ = split.Others[0].Flight.Wait(wait, questions[0]) // it does not come, but is awaited
		if err := p.add(ctx, meta("0", "1-a"), make([]byte, partBytes), false); err != nil {
			t.Error(err)
		}
		cancel()
		p.close()
		close(out.open)
		if err := p.finish(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("finished: %v", err)
		}
		if len(out.parts) != 0 {
			t.Errorf("%d parts are published", len(out.parts))
		}
	})
}
