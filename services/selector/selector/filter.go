package selector

import (
	"slices"

	millracev1 "millrace/proto/millrace/v1"
)

// choose returns the rows that a job wants.
func choose(f *millracev1.JobFilter, rows []*millracev1.Row) []*millracev1.Row {
	if f == nil || !f.ByDocIds {
		return rows
	}
	var chosen []*millracev1.Row
	for _, r := range rows {
		if _, ok := slices.BinarySearch(f.DocIds, r.Id); ok {
			chosen = append(chosen, r)
		}
	}
	return chosen
}
