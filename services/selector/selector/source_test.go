package selector_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/couch"
	"millrace/pkg/endpoint"
	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// sourced is a selector whose feed is of a source that is there.
type sourced struct {
	*fixture
	db *databasetest.Database
	// since is how far the feed has been read.
	since couch.Seq
}

func startSourced(t *testing.T, jobs ...*millracev1.Job) *sourced {
	t.Helper()
	f := &sourced{fixture: &fixture{Pipeline: pipelinetest.Start(t, pipelinetest.Options{}), t: t}, db: databasetest.New(t, millpond.Options{})}
	var err error
	if f.source, err = f.Env().Endpoints(site).Put(t.Context(), endpoint.Endpoint{URL: f.db.URL}); err != nil {
		t.Fatal(err)
	}
	f.enrol(jobs...)
	return f
}

// enrol makes the jobs the roster.
func (f *sourced) enrol(jobs ...*millracev1.Job) {
	f.t.Helper()
	for _, j := range jobs {
		j.Source = f.source
	}
	f.roster(jobs...)
}

// wanting is a job with a filter.
func wanting(job string, filter *millracev1.JobFilter) *millracev1.Job {
	return &millracev1.Job{Id: job, Run: 1, Active: true, Filter: filter}
}

func selects(selector string) *millracev1.JobFilter {
	return &millracev1.JobFilter{Selector: []byte(selector)}
}

func skippingDeletes(f *millracev1.JobFilter) *millracev1.JobFilter {
	f.SkipDeletes = true
	return f
}

// functions are those of the design document f.
var functions = map[string]string{
	"owner":   `function(doc, req) { return doc.owner === req.query.owner }`,
	"deleted": `function(doc, req) { return doc._deleted }`,
	"throws":  `function(doc, req) { throw({forbidden: 'no'}) }`,
	"hostile": `function(doc, req) { while (true) {} }`,
}

func runs(name, params string) *millracev1.JobFilter {
	return &millracev1.JobFilter{Function: "f/" + name, QueryParams: []byte(params), Code: functions[name]}
}

func views(name string) *millracev1.JobFilter {
	return &millracev1.JobFilter{Function: "_view", QueryParams: fmt.Appendf(nil, `{"view":"f/%s"}`, name)}
}

// designs writes the design document f.
func (f *sourced) designs(rev string, functions map[string]string) {
	f.t.Helper()
	doc, err := json.Marshal(map[string]any{
		"_id": "_design/f", "_rev": rev, "_revisions": history(rev), "filters": functions,
		"views": map[string]any{"owned": map[string]string{"map": `function(doc) { if (doc.owner === 'joe') emit(null, null) }`}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.db.Write(f.t, string(doc))
}

// history is the _revisions of a revision whose ancestors have names like its own: 1-a before 2-b.
func history(rev string) map[string]any {
	n := int(rev[0] - '0')
	ids := []string{rev[2:]}
	for i := range n - 1 {
		ids = append(ids, fmt.Sprintf("%c", 'a'+n-2-i))
	}
	return map[string]any{"start": n, "ids": ids}
}

// edited is a document with a revision that has ancestors.
func edited(id, rev, members string) string {
	h, err := json.Marshal(history(rev))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"_id":%q,"_rev":%q,"_revisions":%s%s}`, id, rev, h, members)
}

// follow publishes what has changed at the source, in batches of n rows; 0 for one batch of all. It returns
// the number of batches.
func (f *sourced) follow(n int) int {
	f.t.Helper()
	batches := 0
	var rows []*millracev1.Row
	for _, r := range f.changes(couch.ChangesOptions{Since: f.since}) {
		rows = append(rows, &millracev1.Row{Id: r.ID, Revs: r.Revs, Deleted: r.Deleted})
		f.since = r.Seq
		if len(rows) == n {
			f.batch(rows...)
			rows, batches = nil, batches+1
		}
	}
	if len(rows) > 0 {
		f.batch(rows...)
		batches++
	}
	return batches
}

func (f *sourced) changes(o couch.ChangesOptions) (rows []couch.Row) {
	f.t.Helper()
	o.Style = couch.StyleAllDocs
	changes, err := f.db.Changes(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	defer changes.Close() //nolint:errcheck // nothing is written
	for {
		r, err := changes.Next()
		if err == io.EOF {
			return rows
		}
		if err != nil {
			f.t.Fatal(err)
		}
		rows = append(rows, r)
	}
}

// batch publishes a batch as a reader would.
func (f *sourced) batch(rows ...*millracev1.Row) {
	f.t.Helper()
	f.head++
	f.Send(f.Broker().Subjects().Changes(feed), &millracev1.ChangesBatch{
		Feed: feed, Epoch: 9, Ordinal: f.head, Roster: f.revision, Seq: fmt.Appendf(nil, `"%d-x"`, f.head), Rows: rows,
	})
}

// record waits for the record of a batch's first routing.
func (f *sourced) record(ordinal uint64) *millracev1.Routed {
	f.t.Helper()
	var found *millracev1.Routed
	f.Await("the record of the batch", func() bool {
		for _, r := range f.routed(0) {
			if r.Ordinal == ordinal && r.Only == nil {
				found = r
			}
		}
		return found != nil
	})
	return found
}

// decided waits until a batch is routed, to those too that a busy machine had no time for: they replay it, as
// they would. It returns who got something of it and who had nothing decided, with an event that says why.
func (f *sourced) decided(ordinal uint64) (named, failed string) {
	f.t.Helper()
	r := f.record(ordinal)
	got, left := r.Named, []*millracev1.RoutedJob(nil)
	for _, j := range r.Skipped {
		if len(f.events(j.Job)) == 0 {
			f.replay(j.Job, ordinal)
		}
		f.Await("the replay, or what is wrong", func() bool {
			if len(f.events(j.Job)) > 0 {
				left = append(left, j)
				return true
			}
			for _, r := range f.routed(0) {
				if r.Ordinal == ordinal && r.Only.GetJob() == j.Job {
					got = append(got, r.Named...)
					return true
				}
			}
			return false
		})
	}
	return names(got), names(left)
}

// replay asks for a batch again for one job.
func (f *sourced) replay(job string, ordinal uint64) {
	f.t.Helper()
	f.Send(f.Broker().Subjects().Replay(job), &millracev1.Replay{Feed: feed, Roster: f.revision, Job: job, Run: 1, First: ordinal, Last: ordinal})
}

// got is what a job got: "id rev, id rev".
func (f *sourced) got(job string) string {
	f.t.Helper()
	leaves := map[string]bool{}
	for _, b := range f.batches(job) {
		for _, row := range b.Rows {
			for _, rev := range row.Revs {
				leaves[row.Id+" "+rev] = true
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(leaves)), ", ")
}

func (f *sourced) batches(job string) (all []*millracev1.SelectedBatch) {
	f.t.Helper()
	for _, e := range f.Messages(f.Broker().Streams().Selected, f.Broker().Subjects().Selected(site, job)) {
		b := &millracev1.SelectedBatch{}
		f.Decode(e, b)
		all = append(all, b)
	}
	return all
}

// handed are the bodies that a job was handed, by "id rev", each checked to be the one that is named.
func (f *sourced) handed(job string) map[string]string {
	f.t.Helper()
	messages := map[uint64][]byte{}
	for _, e := range f.Messages(f.Broker().Streams().Bodies, ">") {
		m := &millracev1.Bodies{}
		f.Decode(e, m)
		messages[e.Sequence] = m.Docs
	}
	bodies := map[string]string{}
	for _, b := range f.batches(job) {
		wanted := map[string]bool{}
		for _, row := range b.Rows {
			for _, rev := range row.Revs {
				wanted[row.Id+" "+rev] = true
			}
		}
		for _, ref := range b.Bodies {
			for _, d := range ref.Docs {
				body := string(messages[ref.Sequence][d.Offset:][:d.Length])
				var named struct {
					ID  string `json:"_id"`
					Rev string `json:"_rev"`
				}
				if err := json.Unmarshal([]byte(body), &named); err != nil || named.ID != d.Id || named.Rev != d.Rev {
					f.t.Errorf("%s is handed %q for %s %s: %v", job, body, d.Id, d.Rev, err)
				}
				if !wanted[d.Id+" "+d.Rev] {
					f.t.Errorf("%s is handed %s %s, which its rows do not name", job, d.Id, d.Rev)
				}
				bodies[d.Id+" "+d.Rev] = body
			}
		}
	}
	return bodies
}

// events are what was reported to a job.
func (f *sourced) events(job string) (all []*millracev1.Event) {
	f.t.Helper()
	for _, e := range f.Messages(f.Broker().Streams().Events, f.Broker().Subjects().Events(job)) {
		m := &millracev1.Event{}
		f.Decode(e, m)
		all = append(all, m)
	}
	return all
}

// reads is how often documents were read at the source.
func (f *sourced) reads() int {
	counts := f.db.Server.Requests()
	return counts.Of("POST", "_bulk_get") + counts.Of("GET", "doc")
}
