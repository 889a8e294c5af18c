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
	run   *queryserver.Filters
	now   func() time.Time
	looks looks

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
	return &Functions{
		run: queryserver.NewFilters(o), now: time.Now, jobs: map[string]compiled{},
		looks: looks{now: time.Now, seen: map[place]*look{}},
	}
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
	designDoc, _, err := function(job.Filter)
	if err != nil {
		return nil, err
	}
	at := place{endpoint.Identity(job.Source), "_design/" + designDoc}
	seen, c, err := f.look(ctx, job, at, db)
	if err != nil {
		return nil, err
	}
	if !f.looks.holds(at, seen) { // it changed meanwhile
		return c, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	for id, other := range f.jobs {
		if now.After(other.until.Add(believed)) {
			delete(f.jobs, id)
		}
	}
	f.jobs[job.Id] = compiled{filter: c, designDoc: at.designDoc, until: seen.until}
	return c, nil
}

// look compiles a job's function of what was seen last. Where that has another function than the job's, it may
// be from before the job: then it is looked again.
func (f *Functions) look(ctx context.Context, job *millracev1.Job, at place, db Source) (*look, *Filter, error) {
	for {
		seen, own, err := f.looks.at(ctx, at, db)
		if err != nil {
			return nil, nil, err
		}
		c, err := f.compile(job, seen.doc, seen.reader, false)
		if err == nil || own {
			return seen, c, err
		}
		f.looks.forget(at, seen)
	}
}

// Changed is told that a design document is another one.
func (f *Functions) Changed(designDoc string) {
	f.looks.changed(designDoc)
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
	designDoc, _, err := function(wanted)
	if err != nil {
		return nil, err
	}
	doc, reader, err := see(ctx, "_design/"+designDoc, db)
	if err != nil {
		return nil, err
	}
	return f.compile(job, doc, reader, true)
}

// compile makes a filter of a function of a design document. That of a job is the one of which its id is made, unless any will do.
func (f *Functions) compile(job *millracev1.Job, doc []byte, reader couch.Reader, anyCode bool) (*Filter, error) {
	designDoc, name, err := function(job.Filter)
	if err != nil {
		return nil, err
	}
	if !anyCode && job.Filter.Function != View {
		code, err := queryserver.Source(doc, name)
		if err != nil {
			return nil, err
		}
		if code != job.Filter.Code {
			return nil, fmt.Errorf("%w: filters.%s of %s is another function than the replication id is made of", stage.ErrFilterChanged, name, "_design/"+designDoc)
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
	run, err := f.run.Compile(queryserver.Function{
		Scope: endpoint.Identity(job.Source), DesignDoc: doc, View: job.Filter.Function == View, Name: name,
		Request: queryserver.Request{Query: query, UserCtx: []byte(reader.UserCtx), SecObj: []byte(reader.SecObj)},
	})
	if err != nil {
		return nil, err
	}
	return &Filter{function: run, skipDeletes: job.Filter.SkipDeletes}, nil
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
