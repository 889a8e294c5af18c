package fetcher

import (
	"context"
	"fmt"
	"sync"

	"millrace/pkg/couch"
	"millrace/pkg/filter"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
)

// decider decides on documents, as the source gives them.
type decider interface {
	Match(doc []byte) (bool, error)
}

// choice is what a job wants of what it fetches. It decides on the revision that is delivered, which may be
// another than was asked for (invariant 8). Nil wants everything. It is safe for concurrent use.
type choice struct {
	filter      decider // nil: every document
	skipDeletes bool

	mu       sync.Mutex
	verdicts map[revision]bool // a revision is looked at more than once on its way
	refused  map[string]string // the newest revision that was not wanted, by document
}

// reads reports whether bodies have to be read to choose.
func (c *choice) reads() bool { return c != nil && c.filter != nil }

// skips reports whether tombstones are not wanted.
func (c *choice) skips() bool { return c != nil && c.skipDeletes }

// wants decides on one leaf. doc may have contents of attachments in it.
func (c *choice) wants(m rawdoc.Meta, doc []byte) (bool, error) {
	if c == nil {
		return true, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted, err := c.decide(m, doc)
	if !wanted && err == nil {
		if c.refused == nil {
			c.refused = map[string]string{}
		}
		c.refused[m.ID] = m.Rev
	}
	return wanted, err
}

// inPlaceOf is a revision that was not wanted of a document; empty for none.
func (c *choice) inPlaceOf(id string) string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused[id]
}

func (c *choice) decide(m rawdoc.Meta, doc []byte) (bool, error) {
	switch {
	case c.skipDeletes && m.Deleted:
		return false, nil
	case c.filter == nil:
		return true, nil
	}
	r := revision{m.ID, m.Rev}
	if verdict, known := c.verdicts[r]; known {
		return verdict, nil
	}
	doc, err := withStubs(m, doc)
	if err != nil {
		return false, err
	}
	verdict, err := c.filter.Match(doc)
	if err != nil {
		return false, fmt.Errorf("filter %q: %w", m.ID, err)
	}
	if c.verdicts == nil {
		c.verdicts = map[revision]bool{}
	}
	c.verdicts[r] = verdict
	return verdict, nil
}

// withStubs is the document as filters see it at the source: without the contents of its attachments.
func withStubs(m rawdoc.Meta, doc []byte) ([]byte, error) {
	var entries []rawdoc.Attachment
	for _, a := range m.Attachments {
		if a.Stub {
			continue
		}
		a.Stub, a.Follows, a.Data = true, false, nil
		entries = append(entries, a)
	}
	if len(entries) == 0 {
		return doc, nil
	}
	return rawdoc.SetAttachments(doc, entries)
}

// choice is what a job wants of what is fetched for it; nil for everything. It lives as long as ctx.
func (svc *Service) choice(ctx context.Context, job *millracev1.Job, db *couch.DB) (*choice, error) {
	if job.GetFilter() == nil {
		return nil, nil
	}
	f, err := svc.functions.Of(ctx, job, db)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	c := &choice{skipDeletes: !f.WantsDeleted()}
	if f.NeedsBody() {
		c.filter = bodyFilter{ctx, f}
	}
	if c.filter == nil && !c.skipDeletes {
		return nil, nil
	}
	return c, nil
}

// bodyFilter decides on what stands in documents, while a batch is fetched.
type bodyFilter struct {
	ctx    context.Context
	filter *filter.Filter
}

func (f bodyFilter) Match(doc []byte) (bool, error) { return f.filter.Match(f.ctx, rawdoc.Meta{}, doc) }
