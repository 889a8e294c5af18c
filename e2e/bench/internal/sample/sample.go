// Package sample sums up a handful of measurements: median, extremes and
// percentiles, never means, because one disturbed run must not move the figure.
package sample

import (
	"math"
	"slices"
)

// Summary describes the repeated measurements of one quantity, in its unit.
type Summary struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"` // in the order in which they were measured
}

// Summarize describes values. The summary of none is all NaN; ask
// [Summary.Empty] first.
func Summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{Median: math.NaN(), Min: math.NaN(), Max: math.NaN()}
	}
	return Summary{
		Median: Percentile(values, 50),
		Min:    slices.Min(values),
		Max:    slices.Max(values),
		Values: slices.Clone(values),
	}
}

// Empty reports whether nothing was measured.
func (s Summary) Empty() bool {
	return len(s.Values) == 0
}

// Ratio returns the quotient of the medians, and false where either is lacking
// or the baseline is zero.
func (s Summary) Ratio(baseline Summary) (float64, bool) {
	if s.Empty() || baseline.Empty() || baseline.Median == 0 {
		return 0, false
	}
	return s.Median / baseline.Median, true
}

// Percentile returns the p-th percentile (0 to 100) of values, which need not
// be sorted and are left as they are. Between two measurements it interpolates
// linearly (method R-7 of Hyndman and Fan), so the 50th is the usual median.
// It is NaN for no values.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	position := p / 100 * float64(len(sorted)-1)
	position = math.Max(0, math.Min(position, float64(len(sorted)-1)))
	below := int(position)
	if below == len(sorted)-1 {
		return sorted[below]
	}
	share := position - float64(below)
	return sorted[below]*(1-share) + sorted[below+1]*share
}
