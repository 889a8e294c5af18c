package verify

import (
	"context"
	"fmt"

	"millrace/pkg/couch"
	"millrace/pkg/mango"
	"millrace/pkg/rawdoc"
	"millrace/pkg/routing"
)

// looking decides on the documents of one answer. What functions decide waits until there is
// some of it: a call for each document would cost more than the functions do.
type looking struct {
	*reading
	found map[ref]*seen
	scan  rawdoc.Scanner
	leafs leafReader
	hits  []routing.Hit[*group]

	refs  []ref
	piece []*seen
	docs  [][]byte
	size  int
}

func (l *looking) take(ctx context.Context, item couch.BulkGetItem) error {
	at := ref{id: item.ID, rev: item.Meta.Rev}
	s := &seen{deleted: item.Meta.Deleted}
	if l.bodies {
		read, err := l.leafs.read(item)
		if err != nil {
			return fmt.Errorf("document %q: %w", item.ID, err)
		}
		s.sum = read.sum()
	}
	if l.selectors.Len() > 0 {
		if err := l.bySelectors(item, s); err != nil {
			return err
		}
	}
	l.refs, l.piece = append(l.refs, at), append(l.piece, s)
	if len(l.functions) > 0 {
		doc, err := l.scan.ForFunction(item.Doc)
		if err != nil {
			return fmt.Errorf("document %q: %w", item.ID, err)
		}
		l.docs = append(l.docs, doc)
		if l.size += len(doc); l.size >= pieceBytes {
			return l.flush(ctx)
		}
	}
	return nil
}

// bySelectors decodes a document once, and finds the groups that want it.
func (l *looking) bySelectors(item couch.BulkGetItem, s *seen) error {
	doc, err := mango.Decode(item.Doc)
	if err != nil {
		return fmt.Errorf("document %q: %w", item.ID, err)
	}
	l.hits = l.selectors.Match(doc, l.hits[:0])
	for _, hit := range l.hits {
		if hit.Err != nil {
			hit.Job.fail(fmt.Errorf("document %q: %w", item.ID, hit.Err))
			continue
		}
		s.chosen = append(s.chosen, hit.Job)
	}
	return nil
}

// flush decides on what waits.
func (l *looking) flush(ctx context.Context) error {
	for _, g := range l.functions {
		if g.failure() != nil {
			continue
		}
		answers, err := g.filter.Function().Match(ctx, l.docs...)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			g.fail(err)
			continue
		}
		for i, chosen := range answers {
			if chosen {
				l.piece[i].chosen = append(l.piece[i].chosen, g)
			}
		}
	}
	for i, at := range l.refs {
		l.found[at] = l.piece[i]
	}
	l.refs, l.piece, l.docs, l.size = nil, nil, nil, 0
	return nil
}
