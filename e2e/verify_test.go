package e2e_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"millrace/e2e/compare"
	"millrace/e2e/peer"
	"millrace/e2e/program"
)

// What both databases hold in TestVerifySaysWhatDiffers, but for one of them.
const (
	verifiedBody = `{"_id":"body","_rev":"2-b","_revisions":{"start":2,"ids":["b","a"]},"text":"the mill","list":[1,{"x":"y"}]}`
	verifiedLeaf = `{"_id":"leaves","_rev":"2-c","_revisions":{"start":2,"ids":["c","a"]},"leaf":1}`
	verifiedDead = `{"_id":"leaves","_rev":"2-d","_revisions":{"start":2,"ids":["d","a"]},"_deleted":true}`
	verifiedFile = `{"_id":"files","_rev":"1-e","_revisions":{"start":1,"ids":["e"]},"_attachments":{` +
		`"a.png":{"content_type":"image/png","revpos":1,"data":"AAEC"},"line\nbreak":{"content_type":"text/plain","revpos":1,"data":"d2hlZWw="}}}`
)

// said is a difference in the report of millrace verify.
type said struct {
	Kind, ID, Where, Side string
}

func TestVerifySaysWhatDiffers(t *testing.T) {
	base := []string{verifiedBody, verifiedLeaf, verifiedDead, verifiedFile, `{"_id":"alone","_rev":"1-f","_revisions":{"start":1,"ids":["f"]}}`}
	replace := func(old, by string) func() []string {
		return func() []string {
			var docs []string
			for _, d := range base {
				docs = append(docs, strings.Replace(d, old, by, 1))
			}
			return docs
		}
	}
	without := func(doc string) func() []string {
		return func() []string {
			return slices.DeleteFunc(slices.Clone(base), func(d string) bool { return strings.HasPrefix(d, doc) })
		}
	}
	for name, c := range map[string]struct {
		second func() []string
		want   []said
	}{
		"nothing":                     {replace("", ""), nil},
		"a byte of a body":            {replace(`"y"`, `"z"`), []said{{Kind: "body", ID: "body", Where: "/list/1/x"}}},
		"the order of a body":         {replace(`"text":"the mill","list":[1,{"x":"y"}]`, `"list":[1,{"x":"y"}],"text":"the mill"`), nil},
		"a history":                   {replace(`["b","a"]`, `["b","0"]`), []said{{Kind: "history", ID: "body"}}},
		"a byte of an attachment":     {replace(`AAEC`, `AAED`), []said{{Kind: "attachment", ID: "files", Where: "a.png"}}},
		"a byte of a text attachment": {replace(`d2hlZWw=`, `d2hlZWs=`), []said{{Kind: "attachment", ID: "files", Where: "line\nbreak"}}},
		"a type of an attachment":     {replace(`image/png`, `image/gif`), []said{{Kind: "attachment", ID: "files", Where: "a.png"}}},
		"an attachment is not there":  {replace(`"a.png":{"content_type":"image/png","revpos":1,"data":"AAEC"},`, ``), []said{{Kind: "attachment", ID: "files", Where: "a.png"}}},
		"a leaf is not there":         {without(verifiedLeaf), []said{{Kind: "missing_leaf", ID: "leaves", Side: "B"}, {Kind: "winner_deleted", ID: "leaves"}}},
		"a tombstone is not there":    {without(verifiedDead), []said{{Kind: "missing_leaf", ID: "leaves", Side: "B"}}},
		"a document is not there":     {without(`{"_id":"alone"`), []said{{Kind: "missing_document", ID: "alone", Side: "B"}}},
		"a leaf is deleted on one side": {replace(`"leaf":1`, `"leaf":1,"_deleted":true`),
			[]said{{Kind: "leaf_deleted", ID: "leaves"}, {Kind: "winner_deleted", ID: "leaves"}}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			for _, server := range peer.All(t) {
				t.Run(server.Name, func(t *testing.T) {
					s := between(t, peer.Pair{Source: server, Target: server})
					store(t, s.source, base)
					store(t, s.target, c.second())
					s.verifies(c.want)
				})
			}
		})
	}
}

// store writes documents as they are.
func store(t *testing.T, db string, docs []string) {
	t.Helper()
	var failed []json.RawMessage
	status := ask(t, http.MethodPost, db+"/_bulk_docs", `{"new_edits":false,"docs":[`+strings.Join(docs, ",")+`]}`, &failed)
	if status != http.StatusCreated || slices.ContainsFunc(failed, func(row json.RawMessage) bool { return strings.Contains(string(row), `"error"`) }) {
		t.Fatalf("_bulk_docs: %d %s", status, failed)
	}
}

// verifies checks what millrace verify --bodies finds, its exit codes, and that the
// independent judge agrees about which documents differ.
func (s scenario) verifies(want []said) {
	s.Helper()
	p := program.Start(s.T, program.Millrace, []string{"verify", "--bodies", "--json", s.source, s.target})
	code := p.Wait()
	var report struct {
		Same        bool
		Differences []said
	}
	if err := json.Unmarshal([]byte(p.Stdout.String()), &report); err != nil {
		s.Fatalf("millrace verify ended with %d and printed %q: %v", code, p.Stdout, err)
	}
	order := func(a, b said) int { return strings.Compare(a.Kind, b.Kind) }
	slices.SortFunc(report.Differences, order)
	slices.SortFunc(want, order)
	wantCode := program.ExitDifferent
	if want == nil {
		wantCode = program.ExitOK
	}
	if code != wantCode || report.Same != (want == nil) || !slices.Equal(report.Differences, want) {
		s.Errorf("millrace verify ended with %d and found %+v, want %+v", code, report.Differences, want)
	}
	if quiet := program.Start(s.T, program.Millrace, []string{"verify", "--bodies", "--quiet", s.source, s.target}); quiet.Wait() != wantCode || quiet.Stdout.String() != "" {
		s.Errorf("millrace verify --quiet ended with %d and printed %q", quiet.Wait(), quiet.Stdout)
	}
	o := compare.For(s.pair)
	o.AnyKeyOrder = true
	judged, err := compare.Databases(s.Context(), s.source, s.target, o)
	if err != nil {
		s.Fatal(err)
	}
	if judged.Same() != (want == nil) || (want != nil && judged.Differences[0].ID != want[0].ID) {
		s.Errorf("the other judge finds %s", judged)
	}
}
