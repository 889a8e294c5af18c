package selector_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/pkg/couch"
	"millrace/pkg/credential"
	"millrace/pkg/endpoint"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
	"millrace/services/selector/selector"
)

// The law of the stage: what a job gets is what the source itself would choose for it, leaf by leaf,
// whatever the other jobs of the feed want, whoever joins or leaves, and however the feed is cut into batches.
func TestJobsGetWhatTheSourceWouldChoose(t *testing.T) {
	t.Parallel()
	law(t, startSourced(t))
}

func TestJobsGetWhatCouchDBWouldChoose(t *testing.T) {
	t.Parallel()
	servers := os.Getenv("MILLRACE_TEST_COUCHDB")
	if servers == "" {
		t.Skip("MILLRACE_TEST_COUCHDB names no server")
	}
	at, err := url.Parse(strings.Split(servers, ",")[0] + "/millrace-selector-law")
	if err != nil {
		t.Fatal(err)
	}
	password, _ := at.User.Password()
	db := &databasetest.Database{User: at.User.Username(), Password: password}
	at.User = nil
	db.URL = at.String()
	if db.DB, err = couch.Open(couch.Endpoint{URL: db.URL, Username: db.User, Password: db.Password}, couch.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	db.Recreate(t)
	t.Cleanup(func() {
		if err := db.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	f := &sourced{fixture: &fixture{Pipeline: pipelinetest.Start(t, pipelinetest.Options{}), t: t}, db: db}
	e := endpoint.Endpoint{URL: db.URL, Auth: credential.Auth{Kind: credential.Basic, User: db.User, Password: credential.Text(db.Password)}}
	if f.source, err = f.Env().Endpoints(site).Put(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	law(t, f)
}

func law(t *testing.T, f *sourced) {
	f.designs("1-a", functions)
	f.enrol()
	f.Run(selector.Name)
	round, done := 0, 0
	roster := map[string]*millracev1.Job{}
	rapid.Check(t, func(rt *rapid.T) {
		if done != round { // the one before has failed, and left what it had
			clear(roster)
		}
		round++
		for _, job := range slices.Sorted(maps.Keys(roster)) {
			if rapid.Bool().Draw(rt, "leaves") {
				delete(roster, job)
			}
		}
		for i := range rapid.IntRange(1, 8).Draw(rt, "join") {
			job := fmt.Sprintf("job%d-%d", round, i)
			roster[job] = wanting(job, drawFilter(rt, round))
		}
		f.enrol(slices.Collect(maps.Values(roster))...)
		f.db.Write(t, drawDocuments(rt, round)...)
		before, head := f.since, f.head
		f.follow(rapid.IntRange(1, 9).Draw(rt, "batch"))
		for o := head + 1; o <= f.head; o++ {
			if _, failed := f.decided(o); failed != "" {
				rt.Fatalf("failed: %s", failed)
			}
		}
		for name, job := range roster {
			if got, want := f.got(name), f.choice(job, before); got != want {
				rt.Fatalf("%v got %q, the source chooses %q: %v", job.Filter, got, want, f.events(name))
			}
			f.handed(name)
			f.take(name, len(f.batches(name)))
		}
		done = round
	})
}

// choice is what the source's own feed shows with a filter. Whether a leaf is deleted no row says that lists
// others too: where nothing is read for the job, that is decided when it is fetched.
func (f *sourced) choice(job *millracev1.Job, since couch.Seq) string {
	f.t.Helper()
	o := couch.ChangesOptions{Since: since}
	switch filter := job.Filter; {
	case filter.GetByDocIds():
		o.DocIDs = append([]string{}, filter.DocIds...)
	case len(filter.GetSelector()) > 0:
		o.Selector = filter.Selector
	case filter.GetFunction() == "_view":
		o.Filter, o.Params = "_view", url.Values{"view": {"f/owned"}}
	case filter.GetFunction() != "":
		o.Filter, o.Params = filter.Function, url.Values{"owner": {"joe"}}
	}
	decided := len(o.Selector) > 0 || o.Filter != "" && o.Filter != "_design"
	var leaves []string
	for _, r := range f.changes(o) {
		for _, rev := range r.Revs {
			if job.Filter.GetSkipDeletes() && (decided || len(r.Revs) == 1) && f.deleted(r.ID, rev) {
				continue
			}
			leaves = append(leaves, r.ID+" "+rev)
		}
	}
	slices.Sort(leaves)
	return strings.Join(leaves, ", ")
}

func (f *sourced) deleted(id, rev string) bool {
	f.t.Helper()
	doc, err := f.db.Get(f.t.Context(), id, url.Values{"rev": {rev}})
	if err != nil {
		f.t.Fatal(err)
	}
	meta, err := rawdoc.Scan(doc)
	if err != nil {
		f.t.Fatal(err)
	}
	return meta.Deleted
}

func drawFilter(t *rapid.T, round int) *millracev1.JobFilter {
	id := func(i int) string { return fmt.Sprintf("r%03d-%d", round, i) }
	filter := rapid.SampledFrom([]*millracev1.JobFilter{
		{}, {ByDocIds: true, DocIds: []string{id(0), id(2), id(3)}}, {ByDocIds: true}, {Function: "_design"},
		runs("owner", `{"owner":"joe"}`), runs("deleted", ""), views("owned"),
		selects(`{"owner":"joe"}`), selects(`{"owner":"ann"}`), selects(`{"owner":{"$in":["joe",1,null]}}`),
		selects(`{"$or":[{"owner":"joe"},{"n":{"$gt":1}}]}`), selects(`{"$and":[{"owner":"ann"},{"n":1}]}`),
		selects(`{"owner":{"$ne":"joe"}}`), selects(`{"$not":{"owner":"joe"}}`), selects(`{"$nor":[{"owner":"joe"},{"n":1}]}`),
		selects(`{"owner":{"$exists":false}}`), selects(`{"owner":{"$regex":"^j"}}`), selects(`{"owner":{"$type":"string"}}`),
		selects(`{"tags":{"$elemMatch":{"$eq":"joe"}}}`), selects(`{"tags":{"$all":["joe"]}}`), selects(`{"tags":{"$size":2}}`),
		selects(`{"_deleted":true}`), selects(`{"_revisions":{"$exists":true}}`), selects(`{"_rev":{"$gt":"1-b"}}`), selects(`{}`),
		selects(fmt.Sprintf(`{"_id":{"$lt":%q}}`, id(2))), selects(fmt.Sprintf(`{"_id":%q}`, id(1))),
	}).Draw(t, "filter")
	filter.SkipDeletes = rapid.Bool().Draw(t, "skip_deletes")
	return filter
}

func drawDocuments(t *rapid.T, round int) (docs []string) {
	members := rapid.SampledFrom([]string{
		"", `,"owner":"joe"`, `,"owner":"ann","n":1`, `,"owner":"ann","n":2`, `,"owner":1.0`, `,"owner":null,"tags":[]`,
		`,"tags":["joe"]`, `,"tags":["x","joe"],"owner":["joe"]`, `,"owner":"joe","owner":"ann"`,
	})
	for i := range rapid.IntRange(1, 5).Draw(t, "documents") {
		prefix := ""
		if rapid.IntRange(0, 6).Draw(t, "design") == 0 {
			prefix = "_design/"
		}
		for leaf := range rapid.IntRange(1, 3).Draw(t, "leaves") {
			deleted := ""
			if rapid.Bool().Draw(t, "deleted") {
				deleted = `,"_deleted":true`
			}
			docs = append(docs, fmt.Sprintf(`{"_id":"%sr%03d-%d","_rev":"1-%c"%s%s}`, prefix, round, i, 'a'+leaf, deleted, members.Draw(t, "members")))
		}
	}
	return docs
}
