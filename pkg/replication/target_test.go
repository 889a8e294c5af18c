package replication

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// alone is a document with one of the targets of a document, and its terms.
func alone(t *testing.T, members string) Job {
	t.Helper()
	s, err := ParseSpec([]byte(`{"source":"http://s/a",` + members + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Targets) != 1 {
		t.Fatalf("%d targets", len(s.Targets))
	}
	return s.Jobs()[0]
}

func TestTargetsAreTheJobsOfDocumentsWithOneTargetEach(t *testing.T) {
	const document = `"continuous":true,"create_target":true,"selector":{"type":"a"},"skip_deletes":true`
	cases := []struct{ entry, alone string }{
		{`"http://t/0"`, `"target":"http://t/0",` + document},
		{`{"url":"http://t/1","headers":{"x":"y"}}`, `"target":{"url":"http://t/1","headers":{"x":"y"}},` + document},
		{`{"target":"http://t/2"}`, `"target":"http://t/2",` + document},
		{`{"target":{"url":"http://u:p@t/3"},"selector":{"type":{"$eq":"b"}}}`,
			`"target":"http://u:p@t/3","continuous":true,"create_target":true,"selector":{"type":{"$eq":"b"}},"skip_deletes":true`},
		{`{"target":"http://t/4","doc_ids":["b","a"],"create_target":false}`,
			`"target":"http://t/4","continuous":true,"doc_ids":["a","b"],"skip_deletes":true`},
		{`{"target":"http://t/5","filter":"d/f","query_params":{"q":1},"skip_deletes":false}`,
			`"target":"http://t/5","continuous":true,"create_target":true,"filter":"d/f","query_params":{"q":1}`},
		{`{"target":"http://t/6","create_target_params":{"q":2}}`,
			`"target":"http://t/6","create_target_params":{"q":2},` + document},
		{`{"target":"http://t/0","selector":{"type":"b"}}`,
			`"target":"http://t/0","continuous":true,"create_target":true,"selector":{"type":"b"},"skip_deletes":true`},
		{`{"target":"http://t/0","doc_ids":null,"skip_deletes":false}`,
			`"target":"http://t/0","continuous":true,"create_target":true,"selector":{"type":"a"}`},
	}
	var entries []string
	for _, c := range cases {
		entries = append(entries, c.entry)
	}
	s, err := ParseSpec([]byte(`{"source":"http://s/a",` + document + `,"targets":[` + strings.Join(entries, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	jobs := s.Jobs()
	if len(jobs) != len(cases) {
		t.Fatalf("%d jobs", len(jobs))
	}
	ids := map[ID]bool{}
	for i, c := range cases {
		want, got := alone(t, c.alone), jobs[i]
		wantID, err1 := want.ID("uuid", "function(doc){}")
		gotID, err2 := got.ID("uuid", "function(doc){}")
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if gotID != wantID {
			t.Errorf("%s: id %s, alone %s", c.entry, gotID, wantID)
		}
		if ids[gotID] {
			t.Errorf("%s: an id that another has", c.entry)
		}
		ids[gotID] = true
		g, w := fmt.Sprintf("%+v %v", got.Terms, got.Target.HTTPHeader()), fmt.Sprintf("%+v %v", want.Terms, want.Target.HTTPHeader())
		if g != w {
			t.Errorf("%s:\n%s, alone\n%s", c.entry, g, w)
		}
		if len(got.Targets) != 1 || got.Targets[0].URL != got.Target.URL {
			t.Errorf("%s: targets %v", c.entry, got.Targets)
		}
	}
}

func TestEntriesReplaceAllOfTheDocumentsSelection(t *testing.T) {
	s, err := ParseSpec([]byte(`{"source":"http://s/a","filter":"d/f","query_params":{"a":1},"targets":[
		{"target":"http://t/0","filter":"d/g"}, {"target":"http://t/1","query_params":{"a":2}}, {"target":"http://t/2","doc_ids":[]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, j := range s.Jobs() {
		got += fmt.Sprintf("%s %q %v;", j.Filter, string(j.QueryParams), j.DocIDs != nil)
	}
	if want := `d/g "" false;d/f "{\"a\":2}" false; "" true;`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTargetsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ members, field, reason string }{
		{`"targets":["http://t/0",{"target":"http://t/1","selector":{"$bad":1}}]`, "targets[1].selector", "targets[1].selector"},
		{`"targets":["http://t/0",{"target":"http://t/1","selector":[]}]`, "targets[1].selector", "parameter `targets[1].selector` must be a JSON object"},
		{`"targets":[{"target":"http://t/1","filter":"x"}]`, "targets[0].filter", "Invalid filter"},
		{`"targets":[{"target":"http://t/1","doc_ids":[1]}]`, "targets[0].doc_ids", "an array of strings"},
		{`"targets":[{"target":"http://t/1","doc_ids":[],"selector":{}}]`, "targets[0].filter", "mutually exclusive"},
		{`"targets":[{"target":"http://t/1","filter":"_view"}]`, "targets[0].query_params", "Invalid `view`"},
		{`"targets":[{"target":"http://t/1","query_params":1}]`, "targets[0].query_params", "an object"},
		{`"targets":[{"target":"http://t/1","skip_deletes":1}]`, "targets[0].skip_deletes", "a boolean"},
		{`"targets":[{"target":"http://t/1","create_target":1}]`, "targets[0].create_target", "a boolean"},
		{`"targets":[{"target":"http://t/1","create_target_params":{"q":[]}}]`, "targets[0].create_target_params.q", "a string"},
		{`"targets":[{"target":"http://t/1","selectr":{}}]`, "targets[0].selectr", "no member `selectr`"},
		{`"targets":[{"target":{"url":"http://t/1","headers":1}}]`, "targets[0].target.headers", "a JSON object"},
		{`"targets":[{"url":"http://t/1","selector":{}}]`, "targets[0].selector", "needs its database in `target`"},
		{`"targets":[7]`, "targets[0]", "a URL"},
		{`"targets":[]`, "targets", "at least one"},
		{`"selector":{"$bad":1},"targets":["http://t/0"]`, "selector", "parameter `selector`"},
		// The same replication: of one base id, which names the checkpoint.
		{`"targets":["http://t/0","http://t/1","https://t/0"]`, "targets[2]", "the same replication as `targets[0]`"},
		{`"targets":["http://u:one@t/0","http://u:two@t/0/"]`, "targets[1]", "the same replication as `targets[0]`"},
		{`"targets":["http://t/0",{"target":"http://t/0","create_target":true}]`, "targets[1]", "the same replication"},
		{`"selector":{"a":1},"targets":["http://t/0",{"target":"http://t/0","selector":{"a":{"$eq":1}}}]`, "targets[1]", "the same replication"},
	} {
		_, err := ParseSpec([]byte(`{"source":"http://s/a",` + c.members + `}`))
		var field *FieldError
		if !errors.As(err, &field) || field.Field != c.field || !strings.Contains(field.Reason, c.reason) {
			t.Errorf("%s: %v, want field %s: ... %s", c.members, err, c.field, c.reason)
		}
	}
}

// TestThousandsOfTargetsAreReadOnce: the work for what all targets have of the document does not
// grow with their number.
func TestThousandsOfTargetsAreReadOnce(t *testing.T) {
	document := func(targets, ids int) []byte {
		var b strings.Builder
		b.WriteString(`{"source":"http://s/a","doc_ids":["x"`)
		for i := range ids {
			fmt.Fprintf(&b, `,"document-%d"`, i)
		}
		b.WriteString(`],"targets":["http://t/first"`)
		for i := range targets {
			fmt.Fprintf(&b, `,{"target":"http://t/%d","create_target":true}`, i)
		}
		b.WriteString(`]}`)
		return []byte(b.String())
	}
	allocated := func(targets, ids int) float64 {
		doc := document(targets, ids)
		return testing.AllocsPerRun(1, func() {
			s, err := ParseSpec(doc)
			if err != nil || len(s.Jobs()) != targets+1 {
				t.Fatal(err)
			}
		})
	}
	few, many := allocated(200, 0), allocated(200, 10_000)
	perID := (many - few) / 10_000
	if perID > 20 { // with 200 targets, a reading for each would be thousands
		t.Errorf("%.0f allocations for each id, of 200 targets", perID)
	}
	if s, err := ParseSpec(document(5000, 0)); err != nil || len(s.Targets) != 5001 {
		t.Fatal(err)
	}
}

func TestSkippedDeletionsAreAnotherReplication(t *testing.T) {
	for _, selection := range []string{``, `,"selector":{"a":1}`, `,"doc_ids":["a"]`, `,"filter":"_design"`} {
		with, err1 := alone(t, `"target":"http://t/0","skip_deletes":true`+selection).ID("u", "")
		without, err2 := alone(t, `"target":"http://t/0","skip_deletes":false`+selection).ID("u", "")
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if with.Base == without.Base {
			t.Errorf("%s: a checkpoint past deletions that were skipped counts for a replication that wants them", selection)
		}
	}
}
