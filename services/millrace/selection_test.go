package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"millrace/pkg/replication"
)

// jobsOf parses a command line, whose document is on standard input, as replicate does.
func jobsOf(t *testing.T, document string, args ...string) []replication.Job {
	t.Helper()
	r := &replicateFlags{}
	f := pflag.NewFlagSet("replicate", pflag.ContinueOnError)
	for _, g := range r.groups() {
		f.AddFlagSet(g.flags)
	}
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := r.document.arguments(f.Args(), "SOURCE", "TARGET"); err != nil {
		t.Fatal(err)
	}
	spec, err := r.spec(strings.NewReader(document), f.Args())
	if err != nil {
		t.Fatal(err)
	}
	return spec.Jobs()
}

func chosenBy(j replication.Job) string {
	return fmt.Sprintf("%s ids %q selector %s filter %s params %s skip %v",
		strings.TrimPrefix(j.Target.URL, "http://127.0.0.1/"), j.DocIDs, string(j.Selector), j.Filter, string(j.QueryParams), j.SkipDeletes)
}

func TestTheFlagsChooseWhatIsReplicated(t *testing.T) {
	const document = `{"source":"http://127.0.0.1/a","filter":"d/f","query_params":{"z":1,"a":2},
		"targets":["http://127.0.0.1/x",{"target":"http://127.0.0.1/y","doc_ids":["1"]}]}`
	for _, c := range []struct {
		document string
		args     []string
		want     []string
	}{
		{"", []string{from, to, "--doc-id", "a,b", "--doc-id", "c+%", "--doc-ids", "d,e"},
			[]string{`b/ ids ["a,b" "c+%" "d" "e"] selector  filter  params  skip false`}},
		{"", []string{from, to, "--selector", `{"b":{"$gt":1},"a":2}`, "--skip-deletes"},
			[]string{`b/ ids [] selector {"b":{"$gt":1},"a":2} filter  params  skip true`}},
		{"", []string{from, to, "--filter", "d/f", "--query-param", "z=1", "--query-param", "a=x=y"},
			[]string{`b/ ids [] selector  filter d/f params {"z":"1","a":"x=y"} skip false`}},
		{"", []string{from, to, to + "2", "--selector", `{}`},
			[]string{`b/ ids [] selector {} filter  params  skip false`, `b2/ ids [] selector {} filter  params  skip false`}},
		{document, []string{"--document", "-"},
			[]string{`x/ ids [] selector  filter d/f params {"z":1,"a":2} skip false`, `y/ ids ["1"] selector  filter  params  skip false`}},
		{document, []string{"--document", "-", "--selector", `{"k":1}`},
			[]string{`x/ ids [] selector {"k":1} filter  params  skip false`, `y/ ids ["1"] selector  filter  params  skip false`}},
		{document, []string{"--document", "-", "--query-param", "q=1"},
			[]string{`x/ ids [] selector  filter d/f params {"q":"1"} skip false`, `y/ ids ["1"] selector  filter  params  skip false`}},
		{document, []string{"--document", "-", from, to},
			[]string{`b/ ids [] selector  filter d/f params {"z":1,"a":2} skip false`}},
	} {
		var got []string
		for _, j := range jobsOf(t, c.document, c.args...) {
			got = append(got, chosenBy(j))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q:\ngot  %q\nwant %q", c.args, got, c.want)
		}
	}
}

// TestTheFlagsOfASideAreForEachTarget: also for those that a document lists.
func TestTheFlagsOfASideAreForEachTarget(t *testing.T) {
	const document = `{"source":"http://127.0.0.1/a","targets":["http://127.0.0.1/x",{"url":"http://127.0.0.1/y"},
		{"target":"http://127.0.0.1/z","doc_ids":[]},{"target":{"url":"http://127.0.0.1/z"},"selector":{}}]}`
	for _, jobs := range [][]replication.Job{
		jobsOf(t, document, "--document", "-", "--target-header", "x-a: 1"),
		jobsOf(t, "", from, to, to+"2", "--target-header", "x-a: 1"),
	} {
		for i, j := range jobs {
			if j.Target.HTTPHeader().Get("x-a") != "1" || j.Source.HTTPHeader().Get("x-a") != "" {
				t.Errorf("target %d: headers %v, of the source %v", i, j.Target.HTTPHeader(), j.Source.HTTPHeader())
			}
		}
	}
}
