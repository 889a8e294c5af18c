package sample

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPercentileInterpolatesBetweenNeighbours(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		p      float64
		want   float64
	}{
		{"median of odd", []float64{9, 1, 5}, 50, 5},
		{"median of even", []float64{4, 1, 3, 2}, 50, 2.5},
		{"one value", []float64{7}, 99, 7},
		{"least", []float64{3, 2, 1}, 0, 1},
		{"greatest", []float64{3, 2, 1}, 100, 3},
		{"quarter", []float64{1, 2, 3, 4, 5}, 25, 2},
		{"between", []float64{0, 10}, 99, 9.9},
		{"out of range", []float64{1, 2}, 140, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Percentile(c.values, c.p); math.Abs(got-c.want) > 1e-9 {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestNothingMeasuredIsNotZero(t *testing.T) {
	if got := Percentile(nil, 50); !math.IsNaN(got) {
		t.Errorf("got %v", got)
	}
	s := Summarize(nil)
	if !s.Empty() || !math.IsNaN(s.Median) {
		t.Errorf("got %+v", s)
	}
	if _, ok := s.Ratio(Summarize([]float64{1})); ok {
		t.Error("nothing has a ratio")
	}
	if _, ok := Summarize([]float64{1}).Ratio(s); ok {
		t.Error("there is a ratio to nothing")
	}
	if _, ok := Summarize([]float64{1}).Ratio(Summarize([]float64{0})); ok {
		t.Error("there is a ratio to zero")
	}
}

func TestRatioComparesMedians(t *testing.T) {
	got, ok := Summarize([]float64{6, 4, 100}).Ratio(Summarize([]float64{3, 1, 2}))
	if !ok || got != 3 {
		t.Errorf("got %v, %t", got, ok)
	}
}

// values draws figures of a size that measurements have.
func values(t *rapid.T) []float64 {
	return rapid.SliceOfN(rapid.Float64Range(-1e9, 1e9), 1, 50).Draw(t, "values")
}

func TestSummaryIsOrderedAndKeepsTheValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values(t)
		before := slices.Clone(v)
		s := Summarize(v)
		if s.Min > s.Median || s.Median > s.Max {
			t.Fatalf("out of order: %+v", s)
		}
		if !slices.Equal(v, before) || !slices.Equal(s.Values, before) {
			t.Fatalf("values were moved: %v", v)
		}
	})
}

func TestPercentileGrowsAndForgetsTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values(t)
		low := rapid.Float64Range(0, 100).Draw(t, "low")
		high := rapid.Float64Range(low, 100).Draw(t, "high")
		const rounding = 1e-6
		if Percentile(v, low) > Percentile(v, high)+rounding {
			t.Fatalf("p%v is above p%v", low, high)
		}
		shuffled := rapid.Permutation(v).Draw(t, "shuffled")
		if Percentile(v, low) != Percentile(shuffled, low) {
			t.Fatal("the order matters")
		}
	})
}
