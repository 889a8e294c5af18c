package verify

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"

	"millrace/pkg/couch"
)

// ref names a leaf.
type ref struct {
	id, rev string
}

func compareRefs(x, y ref) int {
	return cmp.Or(strings.Compare(x.id, y.id), strings.Compare(x.rev, y.rev))
}

// fetch reads leaves. Those that the database does not give have a refusal.
func (s *side) fetch(ctx context.Context, refs []ref) (map[ref]leaf, error) {
	got := make(map[ref]leaf, len(refs))
	err := persist(ctx, func() (bool, error) {
		before := len(got)
		rest := slices.DeleteFunc(slices.Clone(refs), func(r ref) bool {
			_, there := got[r]
			return there
		})
		if err := s.fetchInto(ctx, rest, got); err != nil {
			return len(got) > before, s.failed(err)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	for _, r := range refs {
		if _, there := got[r]; !there {
			got[r] = leaf{refusal: "not in the answer"}
		}
	}
	return got, nil
}

// documents asks for leaves, with all that is compared of them.
func (s *side) documents(ctx context.Context, refs []ref) (*couch.BulkGetResults, error) {
	asked := make([]couch.BulkGetRequest, len(refs))
	for i, r := range refs {
		asked[i] = couch.BulkGetRequest{ID: r.id, Rev: r.rev}
	}
	return s.db.BulkGet(ctx, asked, couch.BulkGetOptions{Revs: true, AttEncodingInfo: true})
}

// fetchInto makes one request and adds what it answers.
func (s *side) fetchInto(ctx context.Context, refs []ref, got map[ref]leaf) error {
	results, err := s.documents(ctx, refs)
	if err != nil {
		return err
	}
	defer func() { _ = results.Close() }() // the results are what matters
	var reader leafReader
	for {
		item, err := results.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := reader.add(item, got); err != nil {
			return err
		}
	}
}

// add adds an item of an answer under its own name, whatever was asked for.
func (r *leafReader) add(item couch.BulkGetItem, got map[ref]leaf) error {
	switch {
	case item.Doc != nil:
		l, err := r.read(item)
		if err != nil {
			return err
		}
		got[ref{id: item.ID, rev: item.Meta.Rev}] = l
	case item.Err != nil && couch.Classify(item.Err) == couch.Transient:
		return item.Err // a server in trouble says nothing about a document
	case item.Err != nil:
		got[ref{id: item.ID, rev: item.Err.Rev}] = leaf{refusal: item.Err.Err + ": " + item.Err.Reason}
	}
	return nil
}
