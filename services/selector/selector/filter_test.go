package selector

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRowsAreChosenByDocumentID(t *testing.T) {
	var rows []*millracev1.Row
	for _, id := range []string{"a", "b", "_design/x", "é", "a b"} {
		rows = append(rows, &millracev1.Row{Id: id})
	}
	for name, c := range map[string]struct {
		filter *millracev1.JobFilter
		want   []string
	}{
		"no filter":           {nil, []string{"a", "b", "_design/x", "é", "a b"}},
		"not by document id":  {&millracev1.JobFilter{DocIds: []string{"a"}}, []string{"a", "b", "_design/x", "é", "a b"}},
		"some":                {&millracev1.JobFilter{ByDocIds: true, DocIds: []string{"_design/x", "b", "nobody"}}, []string{"b", "_design/x"}},
		"an id of two words":  {&millracev1.JobFilter{ByDocIds: true, DocIds: []string{"a b"}}, []string{"a b"}},
		"an id not of ASCII":  {&millracev1.JobFilter{ByDocIds: true, DocIds: []string{"é"}}, []string{"é"}},
		"an empty list":       {&millracev1.JobFilter{ByDocIds: true}, nil},
		"nobody that is here": {&millracev1.JobFilter{ByDocIds: true, DocIds: []string{"z"}}, nil},
	} {
		var got []string
		for _, r := range choose(c.filter, rows) {
			got = append(got, r.Id)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: chose %q, want %q", name, got, c.want)
		}
	}
}
