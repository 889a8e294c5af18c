package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/sample"
)

// example has everything that can happen to a contestant.
func example() *Report {
	return &Report{
		Time:    time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC),
		Machine: Machine{OS: "linux", Arch: "amd64", Cores: 2, Go: "go1.26"},
		Source:  Server{URL: "http://a:1", Vendor: "V", Version: "3"}, Target: Server{URL: "http://b:2", Vendor: "W", Version: "4"},
		Rows: []contest.Result{{
			Row: "one", Title: "one target",
			Columns: []contest.Column{{Name: "wall", Unit: "s", Decimals: 2}, {Name: "docs/s", Unit: "docs/s"},
				{Name: "part", Unit: "s", Decimals: 1, Detail: true}},
			Baselines: []string{"bare"},
			Standings: []contest.Standing{
				{Name: "bare", Doc: "the limit", Ratios: map[string]float64{"bare": 1}, Figures: map[string]sample.Summary{
					"wall": sample.Summarize([]float64{2, 1, 3}), "docs/s": sample.Summarize([]float64{10, 20, 30}),
					"part": sample.Summarize([]float64{0.5})}},
				{Name: "ours", Doc: "us", Ratios: map[string]float64{"bare": 1.5}, Errors: []string{"boom"},
					Figures: map[string]sample.Summary{"wall": sample.Summarize([]float64{3})}},
				{Name: "theirs", Doc: "them", Absent: "not there"},
			},
		}},
	}
}

func TestTextShowsMediansExtremesRatiosAndMisfortunes(t *testing.T) {
	var out strings.Builder
	if err := example().Text(&out); err != nil {
		t.Fatal(err)
	}
	const want = `source http://a:1 (V 3), target http://b:2 (W 4)
linux/amd64, 2 cores, go1.26, 2026-11-22T01:02:03Z

one: one target; medians of 3 runs
        wall s    min-max  x bare  docs/s
  bare    2.00  1.00-3.00    1.00      20
  ours    3.00          -    1.50       -
  bare: part 0.5 s
  ours failed: boom
  theirs is absent: not there
  bare = the limit.
  ours = us.
  theirs = them.
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestJSONHasEveryValue(t *testing.T) {
	var out strings.Builder
	if err := example().JSON(&out); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil {
		t.Fatal(err)
	}
	wall := back.Rows[0].Standings[0].Figures["wall"]
	if len(wall.Values) != 3 || wall.Median != 2 || back.Rows[0].Standings[1].Ratios["bare"] != 1.5 {
		t.Errorf("got %s", &out)
	}
}
