package filter

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"millrace/pkg/couch"
	"millrace/pkg/endpoint"
	"millrace/pkg/queryserver"
	"millrace/pkg/replication"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// believed is for how long a function is taken for what it was, where nobody hears of changes of its design
// document.
const believed = time.Minute

// Source is a database that functions are read from.
type Source interface {
	Get(ctx context.Context, id string, params url.Values) ([]byte, error)
	Reader(ctx context.Context) (couch.Reader, error)
}

// Functions keeps compiled filter functions of jobs. It is safe for concurrent use. End it with
// Close.
type Functions struct {
	run *queryserver.Filters
	now func() time.Time

	mu   sync.Mutex
	jobs map[string]compiled // by job
}

type compiled struct {
	filter    *Filter
	designDoc string
	until     time.Time
}

// NewFunctions returns a runner of functions that has none yet.
func NewFunctions(o queryserver.Options) *Functions {
	return &Functions{run: queryserver.NewFilters(o), now: time.Now, jobs: map[string]compiled{}}
}

// Close ends the engines.
func (f *Functions) Close() { f.run.Close() }

// Of returns the job's filter, whatever kind it is of. The errors about a function are
// *[queryserver.FilterError], [stage.ErrFilterChanged], and those of the source.
func (f *Functions) Of(ctx context.Context, job *millracev1.Job, db Source) (*Filter, error) {
	if !HasFunction(job.Filter) {
		return Compile(job.Filter)
	}
	f.mu.Lock()
	known, ok := f.jobs[job.Id]
	f.mu.Unlock()
	if ok && f.now().Before(known.until) {
		return known.filter, nil
	}
	c, err := f.compile(ctx, job, db, false)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	for id, other := range f.jobs {
		if now.After(other.until.Add(believed)) {
			delete(f.jobs, id)
		}
	}
	f.jobs[job.Id] = *c
	return c.filter, nil
}

// Changed is told that a design document is another one.
func (f *Functions) Changed(designDoc string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, c := range f.jobs {
		if c.designDoc == designDoc {
			delete(f.jobs, id)
		}
	}
}

// Read returns the filter of a replication that is no job, as it is at the source now. Errors are those of
// [Functions.Of].
func (f *Functions) Read(ctx context.Context, spec replication.Job, db Source) (*Filter, error) {
	wanted := Wanted(&spec.Selection, "")
	if !HasFunction(wanted) {
		return Compile(wanted)
	}
	job := &millracev1.Job{Filter: wanted, WinningRevsOnly: spec.WinningRevsOnly, Continuous: spec.Continuous}
	c, err := f.compile(ctx, job, db, true)
	if err != nil {
		return nil, err
	}
	return c.filter, nil
}

// compile reads a function. That of a job is the one of which its id is made, unless any will do.
func (f *Functions) compile(ctx context.Context, job *millracev1.Job, db Source, anyCode bool) (*compiled, error) {
	designDoc, name, err := function(job.Filter)
	if err != nil {
		return nil, err
	}
	id := "_design/" + designDoc
	doc, err := db.Get(ctx, id, nil)
	if err != nil {
		return nil, fmt.Errorf("read the filter function of %s: %w", id, err)
	}
	if !anyCode && job.Filter.Function != View {
		code, err := queryserver.Source(doc, name)
		if err != nil {
			return nil, err
		}
		if code != job.Filter.Code {
			return nil, fmt.Errorf("%w: filters.%s of %s is another function than the replication id is made of", stage.ErrFilterChanged, name, id)
		}
	}
	style := couch.StyleAllDocs
	if job.WinningRevsOnly {
		style = couch.StyleMainOnly
	}
	query, err := queryserver.Query(job.Filter.Function, string(style), job.Continuous, job.Filter.QueryParams)
	if err != nil {
		return nil, err
	}
	reader, err := db.Reader(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the source who reads it: %w", err)
	}
	run, err := f.run.Compile(queryserver.Function{
		Scope: endpoint.Identity(job.Source), DesignDoc: doc, View: job.Filter.Function == View, Name: name,
		Request: queryserver.Request{Query: query, UserCtx: []byte(reader.UserCtx), SecObj: []byte(reader.SecObj)},
	})
	if err != nil {
		return nil, err
	}
	out := &Filter{function: run, skipDeletes: job.Filter.SkipDeletes}
	return &compiled{filter: out, designDoc: id, until: f.now().Add(believed)}, nil
}

// function is the design document, without "_design/", and the name of what filters.
func function(f *millracev1.JobFilter) (designDoc, name string, err error) {
	spec := &replication.Selection{Filter: f.Function, QueryParams: f.QueryParams}
	var ok bool
	switch {
	case f.Function == View:
		if designDoc, name, ok = spec.View(); !ok {
			return "", "", errors.New("`query_params` must have a `view` of the form `designname/viewname`")
		}
	default:
		if designDoc, name, ok = spec.FilterDesignDoc(); !ok {
			return "", "", fmt.Errorf("%q is no filter function: it must be of the form `designname/filtername`", f.Function)
		}
	}
	return designDoc, name, nil
}
