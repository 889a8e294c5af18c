package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"millrace/e2e/compare"
	"millrace/e2e/peer"
	"millrace/e2e/program"
)

// choice is a way to choose documents: what a replication document says, and how a source's _changes is
// asked for the same.
type choice struct {
	fields, query, body string
	// undeleted: of those, what is not deleted.
	undeleted bool
}

func selecting(selector string) choice {
	return choice{fields: `"selector":` + selector, query: "filter=_selector", body: `{"selector":` + selector + `}`}
}

// choices are one of each kind, and selectors that look at everything that there is to be looked at.
func choices() []choice {
	ids := `["a","b","d","ä/1+ %","nowhere","_design/f"]`
	quoted := strings.ReplaceAll(strings.ReplaceAll(ids, "%", "%25"), "+", "%2B")
	return []choice{
		{},
		selecting(`{"owner":"joe"}`),
		selecting(`{"owner":{"$in":["ann","sue"]}}`),
		selecting(`{"$not":{"owner":"joe"}}`),
		selecting(`{"owner":{"$exists":false}}`),
		selecting(`{"_deleted":true}`),
		selecting(`{"owner":"joe","_deleted":{"$exists":false}}`),
		selecting(`{"n":{"$gte":2}}`),
		selecting(`{"n":{"$lt":"b"}}`),
		selecting(`{"_id":{"$gt":"b","$regex":"^[a-e]"}}`),
		selecting(`{"$or":[{"tags":{"$elemMatch":{"$gt":"m"}}},{"in.side":{"$all":[1,2]}}]}`),
		selecting(`{"_attachments.note.content_type":"text/plain"}`),
		{fields: `"doc_ids":` + quoted, query: "filter=_doc_ids", body: `{"doc_ids":` + ids + `}`},
		{fields: `"filter":"f/owner","query_params":{"who":"joe"}`, query: "filter=f/owner&who=joe"},
		{fields: `"filter":"f/owner","query_params":{"who":"ann"}`, query: "filter=f/owner&who=ann"},
		{fields: `"filter":"f/gone"`, query: "filter=f/gone"},
		{fields: `"filter":"f/truthy"`, query: "filter=f/truthy"},
		{fields: `"filter":"_view","query_params":{"view":"f/tagged"}`, query: "filter=_view&view=f/tagged"},
		{fields: `"filter":"_design"`, query: "filter=_design"},
	}
}

// undeleted are those of Millrace alone.
func undeleted() []choice {
	all := choices()
	var own []choice
	for _, c := range []choice{all[0], all[1], all[13]} {
		c.fields, c.undeleted = strings.TrimPrefix(c.fields+`,"skip_deletes":true`, ","), true
		own = append(own, c)
	}
	return own
}

const chosenByFunctions = `{"_id":"_design/f","_rev":"1-f0","language":"javascript","lib":{"who":"exports.owns = function (doc, who) { return doc.owner == who; };"},` +
	`"filters":{"owner":"function (doc, req) { return require('lib/who').owns(doc, req.query.who); }",` +
	`"gone":"function (doc) { return doc._deleted === true; }","truthy":"function (doc) { return doc.n; }"},` +
	`"views":{"tagged":{"map":"function (doc) { (doc.tags || []).forEach(function (t) { emit(t, null); }); }"}}}`

// shelves are documents in which the choices find something to tell apart, at first and after everything has
// changed hands: conflicts of which one leaf is chosen, tombstones with and without members, attachments.
func shelves() (first, then []string) {
	edit := func(id string, generation int, branch, members string) string {
		var history []string
		for i := generation; i > 0; i-- {
			history = append(history, fmt.Sprintf(`"%d%s"`, i, branch))
		}
		return fmt.Sprintf(`{"_id":%q,"_rev":"%d-%d%s","_revisions":{"start":%d,"ids":[%s]}%s}`,
			id, generation, generation, branch, generation, strings.Join(history, ","), members)
	}
	const note = `,"_attachments":{"note":{"content_type":"text/plain","revpos":%d,"data":"d2hlZWw="},"blade.bin":{"content_type":"application/octet-stream","revpos":%d,"data":"AAECAwQ="}}`
	first = []string{
		chosenByFunctions, `{"_id":"_design/empty","_rev":"1-f1"}`,
		edit("a", 1, "a", `,"owner":"joe","n":1,"tags":["oat","rye"]`),
		edit("b", 2, "a", `,"owner":"joe","n":2`), edit("b", 2, "b", `,"owner":"ann","n":"b"`),
		edit("c", 1, "a", `,"owner":"joe"`), edit("c", 1, "b", `,"owner":"ann","_deleted":true`),
		edit("d", 3, "a", `,"_deleted":true`), edit("e", 2, "a", `,"owner":"joe","n":null,"_deleted":true`),
		edit("f", 1, "a", `,"owner":"ann","n":2.5`+fmt.Sprintf(note, 1, 1)), edit("f", 1, "b", `,"owner":"joe"`+fmt.Sprintf(note, 1, 1)),
		edit("ä/1+ %", 1, "a", `,"owner":"sue","in":{"side":[2,1]}`),
	}
	owners := []string{"joe", "ann", "sue", "", "Joe"}
	values := []string{`0`, `2`, `-1.5`, `"a"`, `"B"`, `true`, `false`, `null`, `[]`, `{"a":1}`, `"ä"`}
	for i := range 60 {
		owner, n := owners[i%len(owners)], values[i%len(values)]
		id := fmt.Sprintf("doc-%02d", i)
		members := fmt.Sprintf(`,"owner":%q,"n":%s,"tags":["%c"]`, owner, n, 'f'+i%16)
		first = append(first, edit(id, 1, "x", members))
		switch next := owners[(i*3+1)%len(owners)]; i % 6 {
		case 0, 1:
			then = append(then, edit(id, 2, "x", fmt.Sprintf(`,"owner":%q,"n":%s`, next, n)))
		case 2:
			then = append(then, edit(id, 2, "x", fmt.Sprintf(`,"owner":%q,"_deleted":true`, next)))
		case 3:
			then = append(then, edit(id, 1, "y", fmt.Sprintf(`,"owner":%q`, next)))
		case 4:
			then = append(then, edit(id, 4, "x", fmt.Sprintf(`,"owner":%q`+note, next, 3, 4)))
		}
	}
	then = append(then, edit("a", 2, "a", `,"owner":"ann","n":1`), edit("d", 4, "a", `,"owner":"joe"`),
		edit("b", 3, "a", `,"owner":"joe","_deleted":true`), edit("f", 2, "b", `,"owner":"sue"`+fmt.Sprintf(note, 1, 2)))
	return first, then
}

// chosenOf is which leaves a database's own _changes chooses.
func chosenOf(t *testing.T, db string, c choice) map[string]bool {
	t.Helper()
	var feed struct {
		Results []struct {
			ID      string
			Changes []struct{ Rev string }
		}
	}
	method := http.MethodGet
	if c.body != "" {
		method = http.MethodPost
	}
	if status := ask(t, method, db+"/_changes?style=all_docs&"+c.query, c.body, &feed); status != http.StatusOK {
		t.Fatalf("_changes?%s: %d", c.query, status)
	}
	leaves := map[string]bool{}
	for _, row := range feed.Results {
		for _, change := range row.Changes {
			var doc struct {
				Deleted bool `json:"_deleted"`
			}
			if c.undeleted {
				ask(t, http.MethodGet, db+"/"+escapeID(row.ID)+"?rev="+change.Rev, "", &doc)
			}
			if !doc.Deleted {
				leaves[row.ID+" "+change.Rev] = true
			}
		}
	}
	return leaves
}

// holds checks that the target has all leaves that are chosen now and nothing that never was; what both
// databases have has to be the same.
func (s scenario) holds(name string, now, ever map[string]bool) {
	s.Helper()
	has := map[string]bool{}
	for id, revs := range leavesOf(s.T, s.target, "all_docs") {
		for _, rev := range revs {
			has[id+" "+rev] = true
		}
	}
	for _, leaf := range slices.Sorted(maps.Keys(now)) {
		if !has[leaf] {
			s.Errorf("%s: %s is not there", name, leaf)
		}
	}
	for _, leaf := range slices.Sorted(maps.Keys(has)) {
		if !ever[leaf] {
			s.Errorf("%s: %s is there, and was never chosen", name, leaf)
		}
	}
	report, err := compare.Databases(s.Context(), s.source, s.target, compare.For(s.pair))
	if err != nil {
		s.Fatal(err)
	}
	for _, d := range report.Differences {
		switch d.What {
		case "document", "leaf", "deleted in _changes": // which leaves there are is looked at above
		default:
			s.Errorf("%s: %s", name, d)
		}
	}
}

// All choices at once, a target each, of one reading; and again when documents have changed hands. What is
// chosen is what the source says itself, or, where it cannot, a millpond of the same documents.
func TestFilteredTargetsHoldWhatTheSourceChooses(t *testing.T) {
	cases := append(choices(), undeleted()...)
	eachPair(t, func(s scenario) {
		if s.pair.Source != s.pair.Target {
			s.Skip("the choice is the source's alone: one target is enough")
		}
		reference := s.source
		if s.pair.Source.Kind == peer.PouchDB {
			reference = peer.OfKind(s.T, peer.Millpond)[0].NewDB(s.T)
		}
		ever := make([]map[string]bool, len(cases))
		f := s.fansOut(len(cases))
		document := f.document("", func(i int) string { return cases[i].fields })
		first, then := shelves()
		for _, docs := range [][]string{first, then} {
			store(s.T, s.source, docs)
			if reference != s.source {
				store(s.T, reference, docs)
			}
			program.Replicate(s.T, "--document", document, "--uuid", s.uuid, "--batch-size", "20").Completed()
			for i, c := range cases {
				now := chosenOf(s.T, reference, c)
				if len(now) == 0 {
					s.Errorf("%s chooses nothing", c.fields)
				}
				if ever[i] == nil {
					ever[i] = map[string]bool{}
				}
				maps.Copy(ever[i], now)
				s.to(f.targets[i]).holds(c.fields, now, ever[i])
			}
		}
	})
}

// Each choice by both replicators, from the same source, into a target each: leaf for leaf, attachment for
// attachment, counter for counter; and again when documents have changed hands.
func TestFiltersSideBySideWithCouchDBsReplicator(t *testing.T) {
	eachSideBySide(t, func(s sideBySide) {
		if servers := peer.OfKind(s.T, peer.CouchDB); s.pair.Source != servers[0] || s.pair.Target != servers[len(servers)-1] {
			s.Skip("one pair is enough")
		}
		first, then := shelves()
		var sides []sideBySide
		for range choices() {
			side := s
			side.target, side.other = s.pair.Target.NewDB(s.T), s.pair.Target.NewDB(s.T)
			sides = append(sides, side)
		}
		for _, docs := range [][]string{first, then} {
			store(s.T, s.source, docs)
			for i, c := range choices() {
				sides[i].replicate(c.fields)
			}
		}
	})
}
