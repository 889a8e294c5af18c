package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/couch"
	"millrace/pkg/filter"
	"millrace/pkg/queryserver"
	"millrace/pkg/replication"
)

// functions are the design document of the source.
const functions = `{"_id":"_design/f","_rev":"1-00000000000000000000000000000001","filters":{
	"joe":"function(doc, req) { return doc.owner == req.query.who; }",
	"attached":"function(doc) { return !!doc._attachments; }",
	"dead":"function(doc) { return !!doc._deleted; }",
	"throws":"function(doc) { if (doc._id == 'c') throw {forbidden: 'no way'}; return true; }"},
	"views":{"v":{"map":"function(doc) { if (doc.n > 1) emit(doc.n); }"}}}`

// orders are documents of every kind, by owner.
var orders = []string{
	functions,
	doc("a", 1, `"owner":"joe","n":1`), doc("b", 1, `"owner":"ann","n":2`),
	after("c", `"owner":"joe","n":3`, 1, 9), after("c", `"owner":"ann","n":3`, 2, 9), after("c", `"owner":"joe","_deleted":true`, 3, 9),
	after("d", `"owner":"joe","_deleted":true`, 1, 9), after("e", `"_deleted":true`, 1, 9),
	doc("f", 1, `"owner":"joe","n":0.25,"_attachments":{"x":{"content_type":"image/png","revpos":1,"data":"AAAA"}}`),
	doc("é/+ %", 1, `"owner":"ann"`),
	after("moved", `"owner":"ann"`, 2, 1), // from joe
}

// choices are selections, as members of a replication document.
var choices = []string{
	``, `"selector":{"owner":"joe"}`, `"selector":{"owner":{"$in":["ann","sue"]}}`, `"selector":{"owner":"nobody"}`,
	`"selector":{"owner":{"$regex":"^j"}}`, `"selector":{"_attachments.x":{"$exists":true}}`, `"selector":{"$not":{"owner":"joe"}}`, `"selector":{}`,
	`"selector":{"_deleted":true}`,
	`"filter":"f/joe","query_params":{"who":"joe"}`, `"filter":"f/joe","query_params":{"who":"ann"}`, `"filter":"f/attached"`, `"filter":"f/dead"`,
	`"filter":"_view","query_params":{"view":"f/v"}`, `"filter":"_design"`,
	`"doc_ids":["a","c","d","none"]`, `"doc_ids":[]`,
}

// parsed is a replication with what is chosen.
func parsed(t testing.TB, choice string) replication.Job {
	t.Helper()
	text := `{"source":"http://h/a","target":"http://h/b"`
	if choice != "" {
		text += "," + choice
	}
	spec, err := replication.ParseSpec([]byte(text + "}"))
	require.NoError(t, err)
	return spec.Jobs()[0]
}

// newFunctions is a runner that the test ends.
func newFunctions(t testing.TB) *filter.Functions {
	f := filter.NewFunctions(queryserver.Options{})
	t.Cleanup(f.Close)
	return f
}

// filterOf is the filter of what is chosen.
func filterOf(t testing.TB, run *filter.Functions, source *couch.DB, choice string) *filter.Filter {
	t.Helper()
	f, err := run.Read(t.Context(), parsed(t, choice), source)
	require.NoError(t, err)
	return f
}

// chosenBySource is what the source itself chooses: its documents with their attachments. It is the
// judge, and a replicator that asks nobody else.
func chosenBySource(t testing.TB, source *couch.DB, choice string) (docs []string) {
	t.Helper()
	job := parsed(t, choice)
	o := couch.ChangesOptions{DocIDs: job.DocIDs, Selector: job.Selector, Filter: job.Filter, Params: url.Values{}}
	if _, rest, ok := strings.Cut(choice, `"who":"`); ok {
		o.Params.Set("who", rest[:3])
	}
	if strings.Contains(choice, `"view"`) {
		o.Params.Set("view", "f/v")
	}
	rows, err := source.Changes(t.Context(), o)
	require.NoError(t, err)
	defer rows.Close() //nolint:errcheck // it was read only
	var asked []couch.BulkGetRequest
	for {
		row, err := rows.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		for _, rev := range row.Revs {
			asked = append(asked, couch.BulkGetRequest{ID: row.ID, Rev: rev})
		}
	}
	if len(asked) == 0 {
		return nil
	}
	results, err := source.BulkGet(t.Context(), asked, couch.BulkGetOptions{Revs: true, Attachments: true})
	require.NoError(t, err)
	defer results.Close() //nolint:errcheck // it was read only
	for {
		item, err := results.Next()
		if err == io.EOF {
			return docs
		}
		require.NoError(t, err)
		require.Nil(t, item.Err)
		docs = append(docs, string(item.Doc))
	}
}

func outcomesOf(t testing.TB, source *couch.DB, targets []Target, o Options) []Outcome {
	t.Helper()
	if o.RecheckInterval == 0 {
		o.RecheckInterval = 1
	}
	outcomes, err := CompareTargets(t.Context(), source, targets, o)
	require.NoError(t, err)
	require.Len(t, outcomes, len(targets))
	return outcomes
}

// reportOf compares one target.
func reportOf(t testing.TB, source *couch.DB, target Target, o Options) *Report {
	t.Helper()
	outcome := outcomesOf(t, source, []Target{target}, o)[0]
	require.NoError(t, outcome.Err)
	return outcome.Report
}

func TestTargetsHoldWhatTheSourceItselfWouldChoose(t *testing.T) {
	onPairs(t, func(t *testing.T, source, b *couch.DB) {
		write(t, source, orders...)
		run := newFunctions(t)
		var targets []Target
		for _, choice := range choices {
			target := sibling(t, b)
			if docs := chosenBySource(t, source, choice); len(docs) > 0 {
				write(t, target, docs...)
			}
			targets = append(targets, Target{DB: target, Filter: filterOf(t, run, source, choice)})
		}
		for _, bodies := range []bool{false, true} {
			for i, outcome := range outcomesOf(t, source, targets, Options{Bodies: bodies}) {
				require.NoError(t, outcome.Err, choices[i])
				require.True(t, outcome.Report.Same, "%s\n%s", choices[i], outcome.Report)
				require.Zero(t, outcome.Report.B.LeftLeaves, choices[i])
				require.Equal(t, outcome.Report.A.Leaves, outcome.Report.B.Leaves, choices[i])
			}
		}
		// Each lacks what it should have, when it has what the next one should.
		for i, outcome := range outcomesOf(t, source, []Target{{targets[1].DB, targets[2].Filter}, {targets[2].DB, targets[1].Filter}}, Options{}) {
			require.False(t, outcome.Report.Same, i)
			require.NotZero(t, outcome.Report.B.MissingLeaves, i)
			require.NotZero(t, outcome.Report.B.UnchosenLeaves, i)
			require.Zero(t, outcome.Report.B.ForeignLeaves, i)
		}
	})
}

// beyond is what a target has, and what is to be found of it where joe's is chosen.
var beyond = []struct {
	name, choice string
	docs         []string
	want, left   []Difference
}{
	{
		name: "a document has left the filter", docs: []string{doc("moved", 1, `"owner":"joe"`)},
		left: []Difference{{ID: "moved", Kind: LeftFilter, Side: B, Revs: []string{rev(1, 1)}}},
	},
	{
		name: "a document that has left came after it had", docs: []string{after("moved", `"owner":"ann"`, 2, 1)},
		want: []Difference{{ID: "moved", Kind: Unchosen, Side: B, Revs: []string{rev(2, 2)}}},
	},
	{
		name: "an ancestor was never chosen", choice: `"selector":{"owner":"ann"}`, docs: []string{doc("moved", 1, `"owner":"joe"`)},
		want: []Difference{
			{ID: "moved", Kind: MissingLeaf, Side: B, Revs: []string{rev(2, 2)}},
			{ID: "moved", Kind: Unchosen, Side: B, Revs: []string{rev(1, 1)}},
		},
	},
	{
		name: "a document of another source", docs: []string{doc("alien", 1, `"owner":"joe"`)},
		want: []Difference{{ID: "alien", Kind: Foreign, Side: B, Revs: []string{rev(1, 1)}}},
	},
	{
		name: "an edit at the target", docs: []string{after("a", `"owner":"joe"`, 5, 1)},
		want: []Difference{
			{ID: "a", Kind: MissingLeaf, Side: B, Revs: []string{rev(1, 1)}},
			{ID: "a", Kind: Foreign, Side: B, Revs: []string{rev(2, 5)}},
		},
	},
	{
		name: "a leaf of a conflict that is another's", docs: []string{after("c", `"owner":"ann","n":3`, 2, 9)},
		want: []Difference{{ID: "c", Kind: Unchosen, Side: B, Revs: []string{rev(2, 2)}}},
	},
	{
		name: "a document that is not named", choice: `"doc_ids":["a"]`, docs: []string{doc("b", 1, `"owner":"ann","n":2`)},
		want: []Difference{{ID: "b", Kind: Unchosen, Side: B, Revs: []string{rev(1, 1)}}},
	},
	{
		name: "a function sees the target's copy", choice: `"filter":"f/joe","query_params":{"who":"joe"}`,
		docs: []string{doc("moved", 1, `"owner":"joe"`), doc("b", 1, `"owner":"ann","n":2`)},
		want: []Difference{{ID: "b", Kind: Unchosen, Side: B, Revs: []string{rev(1, 1)}}},
		left: []Difference{{ID: "moved", Kind: LeftFilter, Side: B, Revs: []string{rev(1, 1)}}},
	},
	{
		name: "a deletion that is to be skipped", choice: `"skip_deletes":true`, docs: []string{after("d", `"owner":"joe","_deleted":true`, 1, 9)},
		want: []Difference{{ID: "d", Kind: Unchosen, Side: B, Revs: []string{rev(2, 1)}}},
	},
	{
		name: "what was deleted stays where deletions are skipped", choice: `"skip_deletes":true`, docs: []string{doc("d", 9, `"owner":"joe"`)},
		left: []Difference{{ID: "d", Kind: LeftFilter, Side: B, Revs: []string{rev(1, 9)}}},
	},
}

func TestWhatATargetHasBesideIsToldApart(t *testing.T) {
	onPairs(t, func(t *testing.T, source, b *couch.DB) {
		write(t, source, orders...)
		run := newFunctions(t)
		for _, c := range beyond {
			t.Run(c.name, func(t *testing.T) {
				choice := c.choice
				if choice == "" {
					choice = `"selector":{"owner":"joe"}`
				}
				target := sibling(t, b)
				docs := c.docs
				for _, d := range chosenBySource(t, source, strings.TrimPrefix(choice, `"skip_deletes":true`)) {
					if choice == `"skip_deletes":true` && strings.Contains(d, `"_deleted":true`) {
						continue
					}
					if !slices.ContainsFunc(c.want, func(w Difference) bool {
						return w.Side == B && w.Kind == MissingLeaf && strings.Contains(d, `"`+w.ID+`"`)
					}) {
						docs = append(docs, d)
					}
				}
				write(t, target, docs...)
				for _, bodies := range []bool{false, true} {
					report := reportOf(t, source, Target{target, filterOf(t, run, source, choice)}, Options{Bodies: bodies, Settle: true, Rechecks: 1})
					require.Equal(t, len(c.want) == 0, report.Same, report)
					require.ElementsMatch(t, c.want, report.Differences)
					require.ElementsMatch(t, c.left, report.Left)
					require.EqualValues(t, len(c.left), report.B.LeftLeaves)
					require.Contains(t, report.String(), report.Verdict())
				}
			})
		}
	})
}

func TestBodiesOfTargetsAreComparedWithOneReading(t *testing.T) {
	onPairs(t, func(t *testing.T, source, b *couch.DB) {
		write(t, source, orders...)
		joe := filterOf(t, newFunctions(t), source, `"selector":{"owner":"joe"}`)
		docs := chosenBySource(t, source, `"selector":{"owner":"joe"}`)
		whole := sibling(t, b)
		write(t, whole, chosenBySource(t, source, "")...)
		targets := []Target{{DB: whole}}
		for _, replace := range [][2]string{{"", ""}, {"0.25", "0.75"}, {`"AAAA"`, `"AAAB"`}, {`"owner":"joe","_deleted":true`, `"owner":"joe","_deleted":true,"x":1`}} {
			target := sibling(t, b)
			var changed []string
			for _, d := range docs {
				d = strings.Replace(strings.Replace(d, `"_deleted":true,"owner":"joe"`, `"owner":"joe","_deleted":true`, 1), replace[0], replace[1], 1)
				changed = append(changed, d)
			}
			write(t, target, changed...)
			targets = append(targets, Target{target, joe})
		}
		kinds := []string{"", "", "body", "attachment", "body"}
		for i, outcome := range outcomesOf(t, source, targets, Options{Bodies: true}) {
			require.NoError(t, outcome.Err)
			if kinds[i] == "" {
				require.True(t, outcome.Report.Same, outcome.Report)
				continue
			}
			require.NotEmpty(t, outcome.Report.Differences, kinds[i])
			require.EqualValues(t, kinds[i], outcome.Report.Differences[0].Kind)
		}
	})
}

func TestFunctionThatThrowsIsItsTargetsError(t *testing.T) {
	onPairs(t, func(t *testing.T, source, b *couch.DB) {
		write(t, source, orders...)
		run := newFunctions(t)
		joe := sibling(t, b)
		write(t, joe, chosenBySource(t, source, `"selector":{"owner":"joe"}`)...)
		outcomes := outcomesOf(t, source, []Target{
			{b, filterOf(t, run, source, `"filter":"f/throws"`)}, {joe, filterOf(t, run, source, `"selector":{"owner":"joe"}`)},
		}, Options{})
		var failed *queryserver.FilterError
		require.ErrorAs(t, outcomes[0].Err, &failed)
		require.Equal(t, "c", failed.Doc)
		require.Contains(t, outcomes[0].Err.Error(), "filters.throws of _design/f")
		require.NoError(t, outcomes[1].Err)
		require.True(t, outcomes[1].Report.Same, outcomes[1].Report)
	})
}

func TestTargetThatCannotBeReadIsItsOwnError(t *testing.T) {
	p := newPond(t)
	source, target := database(t, p.url), database(t, p.url)
	gone, err := couch.ParseEndpoint(p.url + "/none")
	require.NoError(t, err)
	db, err := couch.Open(gone, couch.Options{})
	require.NoError(t, err)
	defer db.Close()
	outcomes := outcomesOf(t, source, []Target{{DB: db}, {DB: target}}, Options{})
	var read *ReadError
	require.ErrorAs(t, outcomes[0].Err, &read)
	require.Equal(t, B, read.Side)
	require.True(t, outcomes[1].Report.Same)

	_, err = CompareTargets(t.Context(), db, []Target{{DB: target}}, Options{})
	require.ErrorAs(t, err, &read)
	require.Equal(t, A, read.Side)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = CompareTargets(ctx, source, []Target{{DB: target}}, Options{})
	require.True(t, errors.Is(err, context.Canceled), err)
}

// counting counts requests of a server by the end of their path.
type counting struct {
	http.Handler
	mu sync.Mutex
	n  map[string]int
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.n[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]++
	c.mu.Unlock()
	c.Handler.ServeHTTP(w, r)
}

// TestSourceIsReadOnceForAllTargets: whatever their number, also with bodies, and with so little memory
// that nearly all is sorted in files.
func TestSourceIsReadOnceForAllTargets(t *testing.T) {
	const owners, each = 24, 100
	p := newPond(t)
	seen := &counting{Handler: p.Server, n: map[string]int{}}
	web := httptest.NewServer(seen)
	t.Cleanup(web.Close)
	source := database(t, web.URL)
	var docs []string
	perOwner := make([][]string, owners)
	for i := range owners * each {
		d := doc(fmt.Sprintf("%05d-%s", (i*7919)%(owners*each), strings.Repeat("x", 40)), i+1, fmt.Sprintf(`"owner":"o%d"`, i%owners))
		docs, perOwner[i%owners] = append(docs, d), append(perOwner[i%owners], d)
	}
	write(t, source, docs...)
	run := newFunctions(t)
	var targets []Target
	for i := range owners {
		target := database(t, p.url)
		write(t, target, perOwner[i][min(i, 1):]...) // all but the first lack a document
		targets = append(targets, Target{target, filterOf(t, run, source, fmt.Sprintf(`"selector":{"owner":"o%d"}`, i))})
	}
	for range 2 { // of all there are two, and two of the first owner
		target := database(t, p.url)
		write(t, target, docs...)
		targets = append(targets, Target{DB: target}, Target{targets[0].DB, targets[0].Filter})
	}
	read := map[string]int{}
	for name, o := range map[string]Options{"": {Memory: 1}, "bodies": {Memory: 1, Bodies: true}} {
		seen.n = map[string]int{}
		for i, outcome := range outcomesOf(t, source, targets, o) {
			require.NoError(t, outcome.Err)
			if i == 0 || i >= owners {
				require.True(t, outcome.Report.Same, outcome.Report)
				continue
			}
			require.EqualValues(t, 1, outcome.Report.DifferenceCount, outcome.Report)
			require.EqualValues(t, each, outcome.Report.A.Documents)
			require.Equal(t, MissingDocument, outcome.Report.Differences[0].Kind)
		}
		require.Equal(t, 1, seen.n["_changes"], name)
		read[name] = seen.n["_bulk_get"]
		require.Zero(t, seen.n["_revs_diff"], name)
	}
	require.LessOrEqual(t, read["bodies"], owners*each/batchLeaves+1)
	require.Equal(t, read[""], read["bodies"])
}

// TestTargetIsLookedAtAgainWhileTheSourceMoves: what is on its way is no difference, and what has left
// meanwhile none either.
func TestTargetIsLookedAtAgainWhileTheSourceMoves(t *testing.T) {
	p := newPond(t)
	target := database(t, p.url)
	var source *couch.DB
	edited := sync.OnceFunc(func() {
		write(t, source, after("a", `"owner":"ann"`, 2, 1), doc("b", 1, `"owner":"joe"`), after("c", `"owner":"joe","x":1`, 3, 1))
		write(t, target, doc("b", 1, `"owner":"joe"`), after("c", `"owner":"joe","x":1`, 3, 1))
	})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.ServeHTTP(w, r)
		if strings.HasSuffix(r.URL.Path, "/_bulk_get") { // what was read is not so any more
			edited()
		}
	}))
	t.Cleanup(web.Close)
	source = database(t, web.URL)
	write(t, source, doc("a", 1, `"owner":"joe"`), doc("c", 1, `"owner":"joe"`))
	write(t, target, doc("a", 1, `"owner":"joe"`))
	report := reportOf(t, source, Target{target, filterOf(t, newFunctions(t), source, `"selector":{"owner":"joe"}`)}, Options{Bodies: true})
	require.True(t, report.Same, report)
	require.True(t, report.Moved)
	require.NotZero(t, report.Rechecks)
}

func TestWinningRevisionsAreAllThatIsExpectedWhereTheyAre(t *testing.T) {
	onPairs(t, func(t *testing.T, source, b *couch.DB) {
		write(t, source, after("c", `"x":1`, 1, 9), after("c", `"x":2`, 2, 9), after("c", `"_deleted":true`, 8, 3, 9), after("e", ``, 4, 9))
		write(t, b, after("c", `"x":2`, 2, 9), after("e", ``, 4, 9))
		o := Options{WinningRevsOnly: true, Bodies: true, Settle: true, Rechecks: 1}
		report := reportOf(t, source, Target{DB: b}, o)
		require.True(t, report.Same, report)
		// Also of what is looked at again.
		empty := sibling(t, b)
		report = reportOf(t, source, Target{DB: empty}, o)
		require.Equal(t, 1, report.Rechecks)
		require.Equal(t, []Difference{
			{ID: "c", Kind: MissingDocument, Side: B, Revs: []string{rev(2, 2)}}, {ID: "e", Kind: MissingDocument, Side: B, Revs: []string{rev(2, 4)}},
		}, report.Differences)
		write(t, b, after("e", ``, 5, 4, 9))
		report = reportOf(t, source, Target{DB: b}, o)
		require.EqualValues(t, 1, report.B.ForeignLeaves, report)
		// The loser was the winner once.
		write(t, b, after("c", `"x":1`, 1, 9))
		report = reportOf(t, source, Target{DB: b}, o)
		require.EqualValues(t, 1, report.B.LeftLeaves, report)
	})
}
