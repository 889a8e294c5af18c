package fetcher

import (
	"context"
	"slices"
	"strings"

	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/bodies"
)

// sharing is a feed whose jobs want the same revisions.
type sharing struct {
	index *bodies.Index
	feed  string
	// limit is how much of the index the feed may take; 0 for all.
	limit int64
}

// together fetches what nobody has fetched for another job of the feed, and refers to the rest. What is
// being fetched is waited for, once all that was taken on is there for others: so no two batches wait
// for each other, and what another one gives up is asked for by the first that still wants it.
func (f *fetch) together(ctx context.Context, wants []want) error {
	var alone []want // what others have got is not for this job
	for len(wants) > 0 {
		claim, split := f.sharing.index.Claim(f.sharing.feed, questions(wants), f.sharing.limit)
		mine := make([]want, len(split.Mine))
		for i, n := range split.Mine {
			mine[i] = wants[n]
		}
		if err := f.claimed(ctx, claim, mine); err != nil {
			return err
		}
		for _, k := range split.Known {
			if fit, err := f.refer(ctx, wants[k.Question], k.Leaves); err != nil {
				return err
			} else if !fit {
				alone = append(alone, wants[k.Question])
			}
		}
		var again []want
		for _, o := range split.Others {
			w := wants[o.Question]
			leaves, ok, err := o.Flight.Wait(ctx, question(w))
			if err != nil {
				return err
			}
			if !ok {
				again = append(again, w)
			} else if fit, err := f.refer(ctx, w, leaves); err != nil {
				return err
			} else if !fit {
				alone = append(alone, w)
			}
		}
		wants = again
	}
	return f.runLight(ctx, alone)
}

// anew fetches what others have referred to, and cannot any more: it is gone from BODIES.
func (f *fetch) anew(ctx context.Context, wants []want) error {
	return f.claimed(ctx, f.sharing.index.Renew(f.sharing.feed, questions(wants), f.sharing.limit), wants)
}

// claimed fetches what a claim has taken on.
func (f *fetch) claimed(ctx context.Context, claim *bodies.Claim, wants []want) error {
	defer claim.Close()
	f.claim = claim
	f.packer.share(claim)
	defer func() {
		f.claim = nil
		f.packer.share(nil)
	}()
	if err := f.runLight(ctx, wants); err != nil {
		return err
	}
	return f.packer.settle(ctx)
}

// refer packs what stands in BODIES. It reports whether that is what the job wants: a filter has decided on the
// revision that was asked for, and another one it would have to read.
func (f *fetch) refer(ctx context.Context, asked want, leaves []*bodies.Leaf) (fit bool, err error) {
	if f.choice.reads() {
		for _, l := range leaves {
			if l.Revision() != (bodies.Revision{ID: asked.id, Rev: asked.rev}) {
				return false, nil
			}
		}
	}
	for _, l := range leaves {
		r := l.Revision()
		switch {
		case l.Deleted && f.choice.skips():
		case l.Large != nil:
			if f.packer.fresh(r.ID, r.Rev) {
				f.setAside(want{id: r.ID, rev: r.Rev, ancestors: asked.ancestors})
			}
		default:
			if err := f.packer.refer(ctx, l); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func questions(wants []want) []bodies.Question {
	out := make([]bodies.Question, len(wants))
	for i, w := range wants {
		out[i] = question(w)
	}
	return out
}

func question(w want) bodies.Question {
	has := w.ancestors
	if len(has) > 1 {
		has = slices.Sorted(slices.Values(has))
	}
	return bodies.Question{Revision: bodies.Revision{ID: w.id, Rev: w.rev}, Has: strings.Join(has, ",")}
}

// yield lets others have what will not come of this batch soon.
func (f *fetch) yield(ctx context.Context, wants []want) error {
	if f.claim == nil {
		return nil
	}
	for _, w := range wants {
		f.claim.GiveUp(bodies.Revision{ID: w.id, Rev: w.rev})
	}
	return f.packer.flush(ctx)
}

// answers gathers which leaves come for each of the revisions that were asked for in one request.
type answers struct {
	claim  *bodies.Claim // nil: nobody is told
	wants  []want
	at     int // -1 before the first
	leaves []bodies.Revision
	spoilt bool
}

func (f *fetch) answers(wants []want) *answers { return &answers{claim: f.claim, wants: wants, at: -1} }

// take notes a leaf of an answer; nothing is known of an answer with one that is not for all.
func (a *answers) take(result int, m rawdoc.Meta, forAll bool) {
	if !forAll {
		a.spoil(result)
		return
	}
	if a.claim == nil {
		return
	}
	if result != a.at {
		a.end()
		a.at = result
	}
	a.leaves = append(a.leaves, bodies.Revision{ID: m.ID, Rev: m.Rev})
}

// spoil says that an answer is not known whole.
func (a *answers) spoil(result int) {
	if a.claim == nil {
		return
	}
	if result != a.at {
		a.end()
		a.at = result
	}
	a.spoilt = true
}

// end says that the last answer is complete.
func (a *answers) end() {
	if a.claim != nil && a.at >= 0 && !a.spoilt {
		w := a.wants[a.at]
		a.claim.Answered(bodies.Revision{ID: w.id, Rev: w.rev}, a.leaves)
	}
	a.at, a.leaves, a.spoilt = -1, nil, false
}

// setAside notes a document that is large: it is fetched behind all others, as a part of its own, by each job.
func (f *fetch) setAside(w want) {
	f.mu.Lock()
	f.heavy = append(f.heavy, w)
	f.mu.Unlock()
	if f.claim != nil {
		r := bodies.Revision{ID: w.id, Rev: w.rev}
		f.claim.Placed(&bodies.Leaf{Large: &r, Attached: true})
	}
}

// shares reports whether what the batch fetches is of use to others: parts that are fetched once more
// because of what their target has are not.
func (f *fetch) shares(b *millracev1.MissingBatch) bool {
	return f.sharing != nil && !f.known && !f.full && b.Position.GetReplay() == ""
}
