package contest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"millrace/e2e/bench/internal/sample"
)

// Result is what became of a row.
type Result struct {
	Row       string     `json:"row"`
	Title     string     `json:"title"`
	Columns   []Column   `json:"columns"`
	Baselines []string   `json:"baselines"`
	Standings []Standing `json:"contestants"`
}

// Standing is what became of one contestant.
type Standing struct {
	Name    string                    `json:"name"`
	Doc     string                    `json:"doc"`
	Figures map[string]sample.Summary `json:"figures,omitempty"`
	// Ratios compare the medians of the first column with each baseline's.
	Ratios map[string]float64 `json:"ratios,omitempty"`
	Absent string             `json:"absent,omitempty"`
	Errors []string           `json:"errors,omitempty"`
}

// Run has every contestant of the row take its turn, and that runs times:
// A B C A B C, so that whatever changes on the machine meanwhile hits all
// alike. A contestant that fails is part of the result; an error means that
// the row could not be prepared or ctx ended, and comes with what had been
// measured by then.
func Run(ctx context.Context, row Row, runs int, log *slog.Logger) (Result, error) {
	t := tally{values: map[string]map[string][]float64{}, result: Result{
		Row: row.Name(), Title: row.Title(), Columns: row.Columns(), Baselines: row.Baselines(),
	}}
	for n := range runs {
		if err := t.round(ctx, row, log.With("row", row.Name(), "run", n+1)); err != nil {
			return t.sum(), fmt.Errorf("row %s, run %d: %w", row.Name(), n+1, err)
		}
	}
	return t.sum(), nil
}

// tally collects measurements.
type tally struct {
	result Result
	values map[string]map[string][]float64 // by contestant, by column
}

// round prepares and takes one turn of every contestant.
func (t *tally) round(ctx context.Context, row Row, log *slog.Logger) (err error) {
	log.Info("preparing")
	round, err := row.Prepare(ctx)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer func() { err = errors.Join(err, round.Close(ctx)) }()
	for _, c := range round.Contestants() {
		m, err := c.Measure(ctx)
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err) // which may tell what could not be removed
		}
		t.add(c, m, err)
		report(log.With("contestant", c.Name), row.Columns(), m, err)
	}
	return nil
}

// report tells a waiting person how a turn went.
func report(log *slog.Logger, columns []Column, m Measurement, err error) {
	var absent *Absent
	switch {
	case errors.As(err, &absent):
		log.Info("absent", "reason", absent.Reason)
	case err != nil:
		log.Warn("failed", "error", err)
	default:
		first := columns[0]
		log.Info("measured", first.Name, fmt.Sprintf("%.*f %s", first.Decimals, m[first.Name], first.Unit))
	}
}

// add records the outcome of one turn.
func (t *tally) add(c Contestant, m Measurement, err error) {
	s := t.standing(c)
	var absent *Absent
	switch {
	case errors.As(err, &absent):
		s.Absent = absent.Reason
		return
	case err != nil:
		s.Errors = append(s.Errors, err.Error())
		return
	}
	for name, value := range m {
		t.values[c.Name][name] = append(t.values[c.Name][name], value)
	}
}

// standing returns the contestant's entry, a new one at its first turn.
func (t *tally) standing(c Contestant) *Standing {
	i := slices.IndexFunc(t.result.Standings, func(s Standing) bool { return s.Name == c.Name })
	if i < 0 {
		i = len(t.result.Standings)
		t.result.Standings = append(t.result.Standings, Standing{Name: c.Name, Doc: c.Doc})
		t.values[c.Name] = map[string][]float64{}
	}
	return &t.result.Standings[i]
}

// sum turns what was collected into summaries and ratios.
func (t *tally) sum() Result {
	result := t.result
	result.Standings = slices.Clone(t.result.Standings)
	for i := range result.Standings {
		s := &result.Standings[i]
		s.Figures = map[string]sample.Summary{}
		for name, values := range t.values[s.Name] {
			s.Figures[name] = sample.Summarize(values)
		}
	}
	for i := range result.Standings {
		result.Standings[i].Ratios = result.ratios(result.Standings[i])
	}
	return result
}

// ratios compares one contestant with every baseline that was measured.
func (r Result) ratios(s Standing) map[string]float64 {
	ratios := map[string]float64{}
	first := r.Columns[0].Name
	for _, baseline := range r.Standings {
		if !slices.Contains(r.Baselines, baseline.Name) {
			continue
		}
		if ratio, ok := s.Figures[first].Ratio(baseline.Figures[first]); ok {
			ratios[baseline.Name] = ratio
		}
	}
	return ratios
}
