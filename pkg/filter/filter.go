// Package filter decides what a job wants: the one place in which doc_ids, Mango selectors, filter
// functions and the built-in filters are told apart. A filter decides on leaf revisions, as CouchDB's
// replicator has its source decide with style=all_docs.
package filter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"millrace/pkg/mango"
	"millrace/pkg/queryserver"
	"millrace/pkg/rawdoc"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

// DesignDocs is CouchDB's built-in filter that chooses design documents.
const DesignDocs = "_design"

// View is CouchDB's built-in filter that chooses what a view emits anything for.
const View = "_view"

// Filter is what one job wants. It is safe for concurrent use.
type Filter struct {
	byIDs       bool
	ids         []string // sorted
	designDocs  bool
	selector    *mango.Selector
	function    *queryserver.Filter
	skipDeletes bool
}

// Wanted is what the stages need of a replication's selection; nil where it is all. Code is the source of
// its function.
func Wanted(s *replication.Selection, code string) *millracev1.JobFilter {
	f := &millracev1.JobFilter{
		ByDocIds: s.DocIDs != nil, DocIds: s.DocIDs, Selector: s.Selector,
		Function: s.Filter, Code: code, SkipDeletes: s.SkipDeletes,
	}
	if s.Filter != "" {
		f.QueryParams = s.QueryParams
	}
	if !f.ByDocIds && f.Selector == nil && f.Function == "" && !f.SkipDeletes {
		return nil
	}
	return f
}

// Compile returns the filter of a job that has no function; nil stands for one that wants everything.
// The error is that of the selector, or says that there is a function.
func Compile(f *millracev1.JobFilter) (*Filter, error) {
	out := &Filter{skipDeletes: f.GetSkipDeletes()}
	switch {
	case f.GetByDocIds():
		out.byIDs, out.ids = true, f.DocIds
	case len(f.GetSelector()) > 0:
		var err error
		if out.selector, err = mango.Parse(f.Selector); err != nil {
			return nil, fmt.Errorf("selector: %w", err)
		}
	case f.GetFunction() == DesignDocs:
		out.designDocs = true
	case f.GetFunction() != "":
		return nil, fmt.Errorf("filter %s is a function", f.Function)
	}
	return out, nil
}

// HasFunction reports whether the filter is a function of a design document, which has to be read from the
// source.
func HasFunction(f *millracev1.JobFilter) bool {
	return f.GetFunction() != "" && f.GetFunction() != DesignDocs
}

// NeedsBody reports whether the filter decides on what stands in documents. Otherwise it does on
// their ids, and whether they are deleted.
func (f *Filter) NeedsBody() bool { return f.selector != nil || f.function != nil }

// Selector is the Mango selector; nil for none.
func (f *Filter) Selector() *mango.Selector { return f.selector }

// Function is the filter function; nil for none.
func (f *Filter) Function() *queryserver.Filter { return f.function }

// WantsAll reports whether everything is wanted.
func (f *Filter) WantsAll() bool {
	return !f.NeedsBody() && !f.byIDs && !f.designDocs && !f.skipDeletes
}

// WantsID decides on the id of a document, as far as that decides.
func (f *Filter) WantsID(id string) bool {
	switch {
	case f.byIDs:
		_, ok := slices.BinarySearch(f.ids, id)
		return ok
	case f.designDocs:
		return strings.HasPrefix(id, "_design/")
	}
	return true
}

// WantsDeleted reports whether deleted revisions are wanted.
func (f *Filter) WantsDeleted() bool { return !f.skipDeletes }

// WantsRow decides on a row of a feed by what stands in it. A row says of the winner only
// whether it is deleted: where it lists other leaves, whoever reads them decides.
func (f *Filter) WantsRow(r *millracev1.Row) bool {
	return f.WantsID(r.Id) && (f.WantsDeleted() || !r.Deleted || len(r.Revs) != 1)
}

// Match decides on a document in any form in which the source gives it. The error is a
// *[mango.EvaluationError] or *[queryserver.FilterError], or ctx's.
func (f *Filter) Match(ctx context.Context, meta rawdoc.Meta, doc []byte) (bool, error) {
	switch {
	case !f.WantsID(meta.ID) || meta.Deleted && f.skipDeletes:
		return false, nil
	case f.selector != nil:
		d, err := mango.Decode(doc)
		if err != nil {
			return false, err
		}
		return f.selector.Match(d)
	case f.function != nil:
		seen, err := (&rawdoc.Scanner{}).ForFunction(doc)
		if err != nil {
			return false, err
		}
		answers, err := f.function.Match(ctx, seen)
		return err == nil && answers[0], err
	}
	return true, nil
}
