package selector_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/millpond"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/selector/selector"
)

// shelf are documents in which every filter has something to tell apart: conflicts of which one leaf is
// wanted, tombstones with and without members, attachments, and numbers.
func (f *sourced) shelf() {
	f.t.Helper()
	f.designs("1-a", functions)
	f.db.Write(f.t,
		`{"_id":"a","_rev":"1-a","owner":"joe","n":1}`,
		`{"_id":"b","_rev":"1-a","owner":"joe"}`, `{"_id":"b","_rev":"1-b","owner":"ann"}`,
		`{"_id":"c","_rev":"1-a","owner":"joe"}`, `{"_id":"c","_rev":"1-b","owner":"ann","_deleted":true}`,
		`{"_id":"d","_rev":"1-a","_deleted":true}`,
		`{"_id":"e","_rev":"1-a","owner":"ann","n":2.0,"_attachments":{"f":{"data":"YWJj","content_type":"text/plain"}}}`,
		edited("g", "2-b", `,"tags":["x","joe"]`),
	)
}

func TestFiltersOfEveryKindDecideOnEachLeaf(t *testing.T) {
	t.Parallel()
	const all = "_design/f 1-a, a 1-a, b 1-a, b 1-b, c 1-a, c 1-b, d 1-a, e 1-a, g 2-b"
	cases := []struct {
		name   string
		filter *millracev1.JobFilter
		want   string
	}{
		{"none", nil, all},
		{"doc_ids", &millracev1.JobFilter{ByDocIds: true, DocIds: []string{"b", "d", "x"}}, "b 1-a, b 1-b, d 1-a"},
		{"no doc_ids", &millracev1.JobFilter{ByDocIds: true}, ""},
		{"design", &millracev1.JobFilter{Function: "_design"}, "_design/f 1-a"},
		{"everything", selects(`{}`), all},
		{"joe", selects(`{"owner":"joe"}`), "a 1-a, b 1-a, c 1-a"},
		{"ann", selects(`{"owner":"ann"}`), "b 1-b, c 1-b, e 1-a"},
		{"either", selects(`{"owner":{"$in":["ann","joe"]}}`), "a 1-a, b 1-a, b 1-b, c 1-a, c 1-b, e 1-a"},
		{"nobody's", selects(`{"owner":{"$exists":false}}`), "_design/f 1-a, d 1-a, g 2-b"},
		{"another's", selects(`{"$not":{"owner":"joe"}}`), "b 1-b, c 1-b, e 1-a"},
		{"neither", selects(`{"$nor":[{"owner":"joe"},{"n":2}]}`), ""},
		{"deleted", selects(`{"_deleted":true}`), "c 1-b, d 1-a"},
		{"number", selects(`{"n":2}`), "e 1-a"},
		{"tag", selects(`{"tags":{"$elemMatch":{"$eq":"joe"}}}`), "g 2-b"},
		{"by id", selects(`{"_id":{"$gte":"d","$lt":"f"}}`), "d 1-a, e 1-a"},
		{"stub", selects(`{"_attachments.f.stub":true}`), "e 1-a"},
		// What is asked for beside the document so that it can be written is not part of what is filtered.
		{"history", selects(`{"_revisions":{"$exists":true}}`), ""},
		{"encoding", selects(`{"_attachments.f.encoding":{"$exists":true}}`), ""},
		{"function", runs("owner", `{"owner":"joe"}`), "a 1-a, b 1-a, c 1-a"},
		{"same function", runs("owner", `{"owner":"ann"}`), "b 1-b, c 1-b, e 1-a"},
		{"tombstones", runs("deleted", ""), "c 1-b, d 1-a"},
		{"view", views("owned"), "a 1-a, b 1-a, c 1-a"},
		{"undeleted", skippingDeletes(&millracev1.JobFilter{}), "_design/f 1-a, a 1-a, b 1-a, b 1-b, c 1-a, c 1-b, e 1-a, g 2-b"}, // of c whoever fetches it decides
		{"undeleted ids", skippingDeletes(&millracev1.JobFilter{ByDocIds: true, DocIds: []string{"a", "d"}}), "a 1-a"},
		{"undeleted ann's", skippingDeletes(selects(`{"owner":"ann"}`)), "b 1-b, e 1-a"},
		{"undeleted by function", skippingDeletes(runs("owner", `{"owner":"ann"}`)), "b 1-b, e 1-a"},
		{"undeleted by view", skippingDeletes(views("owned")), "a 1-a, b 1-a, c 1-a"},
	}
	var jobs []*millracev1.Job
	for i, c := range cases {
		jobs = append(jobs, wanting(fmt.Sprint("job", i), c.filter))
	}
	f := startSourced(t, jobs...)
	f.shelf()
	f.Run(selector.Name)
	f.follow(0)
	to, failed := f.decided(1)
	named := map[string]bool{}
	for _, j := range strings.Fields(to) {
		named[strings.TrimSuffix(j, "/1")] = true
	}
	if failed != "" {
		t.Errorf("failed: %s", failed)
	}
	for i, c := range cases {
		job := jobs[i].Id
		if got := f.got(job); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if named[job] != (c.want != "") {
			t.Errorf("%s: named is %v", c.name, named[job])
		}
		if events := f.events(job); len(events) > 0 {
			t.Errorf("%s: %v", c.name, events)
		}
		reads := len(c.filter.GetSelector()) > 0 || strings.HasPrefix(c.filter.GetFunction(), "f/") || c.filter.GetFunction() == "_view"
		for _, leaf := range strings.Split(c.want, ", ") {
			// What has attachments is left to who knows how they are to travel.
			_, handed := f.handed(job)[leaf]
			if want := reads && leaf != "" && leaf != "e 1-a"; handed != want {
				t.Errorf("%s: whether %s is handed over is %v", c.name, leaf, handed)
			}
		}
	}
	if n := f.db.Server.Requests().Of("POST", "_bulk_get"); n != 1 {
		t.Errorf("%d requests for %d jobs", n, len(jobs))
	}
	// What several jobs want stands there once, with its history.
	places := map[string]map[string]bool{}
	for _, j := range jobs {
		for _, b := range f.batches(j.Id) {
			for _, ref := range b.Bodies {
				for _, d := range ref.Docs {
					leaf := d.Id + " " + d.Rev
					if places[leaf] == nil {
						places[leaf] = map[string]bool{}
					}
					places[leaf][fmt.Sprint(ref.Sequence, " ", d.Offset)] = true
				}
			}
		}
	}
	for leaf, at := range places {
		if len(at) != 1 {
			t.Errorf("%s stands at %v", leaf, slices.Sorted(maps.Keys(at)))
		}
	}
	if body := f.handed("job4")["g 2-b"]; !strings.Contains(body, `"_revisions":{"start":2,"ids":["b","a"]}`) {
		t.Errorf("handed over: %s", body)
	}
}

// Joe's document becomes Ann's after the feed was read: what is delivered is the newer revision, and that
// is Ann's (invariant 8).
func TestDocumentThatChangedHandsIsJudgedByWhatIsDelivered(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"selector", "function"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			filter := func(owner string) *millracev1.JobFilter {
				if by == "function" {
					return runs("owner", fmt.Sprintf(`{"owner":%q}`, owner))
				}
				return selects(fmt.Sprintf(`{"owner":%q}`, owner))
			}
			f := startSourced(t, wanting("joe", filter("joe")), wanting("ann", filter("ann")))
			f.designs("1-a", functions)
			f.db.Write(t, edited("x", "2-b", `,"owner":"ann"`), edited("y", "2-b", `,"owner":"joe"`),
				edited("z", "2-b", `,"owner":"joe"`), `{"_id":"z","_rev":"1-z","owner":"ann"}`)
			f.Run(selector.Name)
			f.batch(
				&millracev1.Row{Id: "x", Revs: []string{"1-a"}}, &millracev1.Row{Id: "y", Revs: []string{"1-a"}},
				&millracev1.Row{Id: "z", Revs: []string{"1-a", "2-b", "1-z"}}, // its leaf is returned for both
			)
			if named, failed := f.decided(1); named != "ann/1 joe/1" || failed != "" {
				t.Errorf("named %s, skipped %s", named, failed)
			}
			for job, want := range map[string]string{"joe": "y 2-b, z 2-b", "ann": "x 2-b, z 1-z"} {
				if got := f.got(job); got != want {
					t.Errorf("%s got %q, want %q", job, got, want)
				}
				if n := len(f.handed(job)); n != 2 {
					t.Errorf("%s was handed %d", job, n)
				}
				for _, row := range f.batches(job)[0].Rows {
					if len(row.Revs) != 1 {
						t.Errorf("%s: row %v", job, row)
					}
				}
			}
		})
	}
}

// The source's own feed would not list it any more.
func TestDocumentThatIsGoneIsNotWanted(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("all", selects(`{}`)), wanting("plain", nil))
	f.db.Write(t, `{"_id":"a","_rev":"1-a"}`)
	f.Run(selector.Name)
	f.batch(&millracev1.Row{Id: "a", Revs: []string{"1-a", "1-gone"}}, &millracev1.Row{Id: "gone", Revs: []string{"1-a"}}, &millracev1.Row{Id: "", Revs: []string{"1-a"}})
	if r := f.record(1); names(r.Named) != "all/1 plain/1" {
		t.Errorf("named %s, skipped %s", names(r.Named), names(r.Skipped))
	}
	if got := f.got("all"); got != "a 1-a" {
		t.Errorf("got %q", got)
	}
	if events := f.events("all"); len(events) != 0 {
		t.Errorf("reported %v", events)
	}
}

func TestNothingIsReadWhereNobodyLooksIntoDocuments(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("all", nil), wanting("ids", &millracev1.JobFilter{ByDocIds: true, DocIds: []string{"a"}}),
		wanting("design", &millracev1.JobFilter{Function: "_design"}), wanting("undeleted", skippingDeletes(&millracev1.JobFilter{})))
	f.shelf()
	f.Run(selector.Name)
	f.follow(0)
	f.record(1)
	if n := f.reads(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestServerWithoutBulkGetIsAskedOneByOne(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("ann", selects(`{"owner":"ann"}`)))
	f.shelf()
	f.db.Server.Inject(millpond.Fault{Match: millpond.Matching("POST", "/_bulk_get"), Status: 404, Body: `{"error":"not_found","reason":"missing"}`})
	f.Run(selector.Name)
	f.follow(0)
	f.record(1)
	if got, want := f.got("ann"), "b 1-b, c 1-b, e 1-a"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whoever needs no documents is not held up, and whoever does hears why it gets nothing.
func TestSourceThatCannotBeReadDelaysOnlyWhoReadsIt(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("plain", nil), wanting("joe", selects(`{"owner":"joe"}`)), wanting("function", runs("owner", `{"owner":"joe"}`)))
	f.shelf()
	f.follow(0)
	heal := f.db.Server.Inject(millpond.Fault{Match: func(r *http.Request) bool { return r.URL.Path != "/db/_changes" }, Status: 503})
	f.Run(selector.Name)
	if r := f.record(1); names(r.Named) != "plain/1" || names(r.Skipped) != "function/1 joe/1" {
		t.Errorf("named %s, skipped %s", names(r.Named), names(r.Skipped))
	}
	for _, job := range []string{"joe", "function"} {
		events := f.events(job)
		if len(events) == 0 || events[0].Class != millracev1.Event_CLASS_TRANSIENT || events[0].Status != 503 || events[0].Position.Ordinal != 1 {
			t.Errorf("%s: reported %v", job, events)
		}
	}
	if events := f.events("plain"); len(events) != 0 {
		t.Errorf("reported %v", events)
	}
	heal()
	f.replay("joe", 1)
	f.Await("it is decided", func() bool { return f.got("joe") == "a 1-a, b 1-a, c 1-a" })
}

func TestBatchComesAgainWhereEverybodyReadsASourceThatIsDown(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("joe", selects(`{"owner":"joe"}`)))
	f.shelf()
	f.follow(0)
	f.db.Server.Inject(millpond.Fault{DropBefore: true, Times: 3})
	f.Run(selector.Name)
	if r := f.record(1); names(r.Named) != "joe/1" || len(r.Skipped) != 0 {
		t.Errorf("named %s, skipped %s", names(r.Named), names(r.Skipped))
	}
}

// A function that does not end costs the other jobs a moment, and its own job its run.
func TestHostileFunctionDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("plain", nil), wanting("joe", selects(`{"owner":"joe"}`)), wanting("hostile", runs("hostile", "")))
	f.shelf()
	f.Run(selector.Name)
	f.follow(0)
	if r := f.record(1); names(r.Named) != "joe/1 plain/1" || names(r.Skipped) != "hostile/1" {
		t.Errorf("named %s, skipped %s", names(r.Named), names(r.Skipped))
	}
	f.replay("hostile", 1)
	f.Await("its job hears of it", func() bool { return len(f.events("hostile")) > 0 })
	if e := f.events("hostile")[0]; !strings.Contains(e.Reason, "filters.hostile of _design/f") || e.Position.Run != 1 || e.Position.Ordinal != 1 {
		t.Errorf("reported %v", e)
	}
	if len(f.events("plain"))+len(f.events("joe")) != 0 {
		t.Error("the others hear of it")
	}
}

func TestFilterThatFailsIsItsOwnJobsFailure(t *testing.T) {
	t.Parallel()
	missing := runs("owner", "")
	missing.Function = "nowhere/owner"
	for name, c := range map[string]struct {
		filter *millracev1.JobFilter
		says   []string
	}{
		"function that throws":    {runs("throws", ""), []string{"filters.throws of _design/f", "forbidden"}},
		"no such design document": {missing, []string{"_design/nowhere"}},
		"selector that is none":   {selects(`{"$nonsense":1}`), []string{"$nonsense"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startSourced(t, wanting("joe", selects(`{"owner":"joe"}`)), wanting("broken", c.filter))
			f.shelf()
			f.Run(selector.Name)
			f.follow(0)
			if named, failed := f.decided(1); named != "joe/1" || failed != "broken/1" {
				t.Errorf("named %s, skipped %s", named, failed)
			}
			events := f.events("broken")
			if len(events) == 0 {
				t.Fatal("nothing is reported")
			}
			for _, s := range c.says {
				if !strings.Contains(events[0].Reason, s) {
					t.Errorf("%q does not say %s", events[0].Reason, s)
				}
			}
		})
	}
}

// The replication id was made of another function: the run is over, and the replication has another id.
func TestFunctionThatChangedEndsItsJobsRun(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("joe", runs("owner", `{"owner":"joe"}`)), wanting("deleted", runs("deleted", "")))
	f.shelf()
	f.Run(selector.Name)
	f.follow(0)
	if named, failed := f.decided(1); named != "deleted/1 joe/1" || failed != "" {
		t.Fatalf("named %s, skipped %s", named, failed)
	}
	others := maps.Clone(functions)
	others["owner"] = `function(doc, req) { return doc.owner !== req.query.owner }`
	f.designs("2-b", others)
	f.db.Write(t, `{"_id":"late","_rev":"1-a","owner":"ann"}`, `{"_id":"late2","_rev":"1-a","_deleted":true}`)
	f.follow(0)
	if named, failed := f.decided(2); named != "deleted/1" || failed != "joe/1" {
		t.Errorf("named %s, skipped %s", named, failed)
	}
	events := f.events("joe")
	if len(events) == 0 || events[0].Class != millracev1.Event_CLASS_PERMANENT || events[0].Error != stage.ErrFilterChanged.Error() {
		t.Errorf("reported %v", events)
	}
	if got := f.got("joe"); strings.Contains(got, "late") {
		t.Errorf("got %q", got)
	}
}

func TestBatchIsReadOnceForAThousandJobs(t *testing.T) {
	t.Parallel()
	const n = 1000
	var jobs []*millracev1.Job
	for i := range n {
		jobs = append(jobs, wanting(fmt.Sprintf("job%d", i), selects(fmt.Sprintf(`{"owner":"o%d"}`, i))))
	}
	f := startSourced(t, jobs...)
	var docs []string
	for i := range 60 { // but the last one is nobody's
		docs = append(docs, fmt.Sprintf(`{"_id":"d%02d","_rev":"1-a","owner":"o%d"}`, i, i*17))
	}
	f.db.Write(t, docs...)
	f.Run(selector.Name)
	f.follow(20)
	for ordinal := range uint64(3) {
		if r := f.record(ordinal + 1); len(r.Named) != 20-int(ordinal/2) || len(r.Skipped) != 0 {
			t.Errorf("%d named, %d skipped", len(r.Named), len(r.Skipped))
		}
	}
	for i := range 60 {
		if i*17 < n {
			if got, want := f.got(fmt.Sprintf("job%d", i*17)), fmt.Sprintf("d%02d 1-a", i); got != want {
				t.Errorf("job %d got %q, want %q", i*17, got, want)
			}
		}
	}
	if got := f.reads(); got != 3 {
		t.Errorf("%d requests for 3 batches", got)
	}
	// One that joins is found, and one that leaves is not, and nothing is read for others.
	f.enrol(append(jobs[1:], wanting("late", selects(`{"owner":"o0"}`)))...)
	f.db.Write(t, `{"_id":"d99","_rev":"1-a","owner":"o0"}`)
	f.follow(0)
	if r := f.record(4); names(r.Named) != "late/1" {
		t.Errorf("named %s", names(r.Named))
	}
}

// A job that is passed over, or has just joined, costs the source nothing as long as what was read is kept.
func TestReplayReadsNothingAgain(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("joe", selects(`{"owner":"joe"}`)), wanting("ann", selects(`{"owner":"ann"}`)))
	f.shelf()
	f.Run(selector.Name)
	f.follow(0)
	f.record(1)
	late := wanting("late", selects(`{"owner":{"$exists":true}}`))
	f.enrol(wanting("joe", nil), wanting("ann", nil), late)
	f.replay("late", 1)
	f.Await("it is decided", func() bool { return f.got("late") == "a 1-a, b 1-a, b 1-b, c 1-a, c 1-b, e 1-a" })
	if n := f.reads(); n != 1 {
		t.Errorf("%d requests", n)
	}
	if n := len(f.handed("late")); n != 5 {
		t.Errorf("%d are handed over", n)
	}
	// What another has been handed stands there already.
	if n := len(f.Messages(f.Broker().Streams().Bodies, ">")); n != 1 {
		t.Errorf("%d messages of bodies", n)
	}
}

// A batch of large documents is looked at piece by piece, and all of it arrives.
func TestLargeDocumentsAreDecidedInPieces(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("joe", selects(`{"owner":"joe"}`)), wanting("all", selects(`{"p":{"$exists":true}}`)))
	padding := strings.Repeat("x", 3<<20)
	var want []string
	for i := range 5 {
		f.db.Write(t, fmt.Sprintf(`{"_id":"d%d","_rev":"1-a","owner":"joe","p":%q}`, i, padding))
		want = append(want, fmt.Sprintf("d%d 1-a", i))
	}
	f.Run(selector.Name)
	f.follow(0)
	f.decided(1)
	for _, job := range []string{"joe", "all"} {
		if got := f.got(job); got != strings.Join(want, ", ") {
			t.Errorf("%s got %q: %v", job, got, f.events(job))
		}
	}
}

// Jobs that want a batch again whose documents are too many to be kept read them together.
func TestJobsThatReplayALargeBatchReadItTogether(t *testing.T) {
	t.Parallel()
	f := startSourced(t, wanting("joe", selects(`{"owner":"joe"}`)), wanting("ann", selects(`{"owner":"ann"}`)))
	padding := strings.Repeat("x", 3<<20)
	for i := range 6 { // more than a quarter of what is kept
		f.db.Write(t, fmt.Sprintf(`{"_id":"d%d","_rev":"1-a","owner":"o%d","p":%q}`, i, i, padding))
	}
	f.Run(selector.Name)
	f.follow(0)
	f.record(1)
	const n = 24
	jobs := []*millracev1.Job{wanting("joe", nil), wanting("ann", nil)}
	for i := range n {
		jobs = append(jobs, wanting(fmt.Sprintf("late%d", i), selects(fmt.Sprintf(`{"owner":"o%d"}`, i%6))))
	}
	before := f.reads()
	f.enrol(jobs...)
	for i := range n {
		f.replay(fmt.Sprintf("late%d", i), 1)
	}
	for i := range n {
		f.Await("it is decided", func() bool { return f.got(fmt.Sprintf("late%d", i)) == fmt.Sprintf("d%d 1-a", i%6) })
	}
	if got := f.reads() - before; got > n/2 {
		t.Errorf("%d readings for %d jobs", got, n)
	}
}
