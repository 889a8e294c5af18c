package routing

import (
	"errors"
	"time"

	"millrace/pkg/mango"
)

// ErrTooSlow is the error of a job whose selector took more than its share of time.
var ErrTooSlow = errors.New("the selector takes too long")

// Pass matches several documents in a row, such as those of a batch, and bounds what
// a job can cost: one whose selector cannot be evaluated, or has used up its time, is
// said to be so once and left out from then on. Only regular expressions take time. It
// is not safe for concurrent use.
type Pass[J comparable] struct {
	index *Index[J]
	limit time.Duration
	now   func() time.Time
	spent map[J]time.Duration
	out   map[J]struct{} // left out
}

// Pass begins one in which each job may take as long as limit. The last document may
// exceed it, by what one evaluation can take.
func (x *Index[J]) Pass(limit time.Duration) *Pass[J] {
	return &Pass[J]{index: x, limit: limit, now: time.Now, spent: make(map[J]time.Duration), out: make(map[J]struct{})}
}

// Skip leaves a job out of what is left of the pass.
func (p *Pass[J]) Skip(job J) { p.out[job] = struct{}{} }

// Match is that of the index, for the jobs that are not left out. The error of a hit may
// also be [ErrTooSlow]; such a job may have matched the document, or others before.
func (p *Pass[J]) Match(doc mango.Document, dst []Hit[J]) []Hit[J] {
	p.index.each(doc, func(e *entry[J]) {
		if len(p.out) > 0 {
			if _, out := p.out[e.job]; out {
				return
			}
		}
		before := len(dst)
		if e.selector == nil || !e.selector.HasPattern() {
			dst = e.try(doc, dst)
		} else {
			dst = p.timed(e, doc, dst)
		}
		failed := len(dst) > before && dst[before].Err != nil
		if !failed && p.spent[e.job] > p.limit {
			dst, failed = append(dst[:before], Hit[J]{Job: e.job, Err: ErrTooSlow}), true
		}
		if failed {
			p.Skip(e.job)
		}
	})
	return dst
}

func (p *Pass[J]) timed(e *entry[J], doc mango.Document, dst []Hit[J]) []Hit[J] {
	began := p.now()
	dst = e.try(doc, dst)
	p.spent[e.job] += p.now().Sub(began)
	return dst
}
