package contest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// score is the quantity of the rows in these tests.
var score = Column{Name: "score", Unit: "s", Decimals: 1}

// script is a row whose contestants do as told and whose doings are recorded.
type script struct {
	players  []player
	done     []string
	prepared error
	closed   error
}

// player yields one value a turn, or an error.
type player struct {
	name string
	turn func(run int) (Measurement, error)
}

// scores yields the values in order.
func scores(name string, values ...float64) player {
	return player{name, func(run int) (Measurement, error) {
		return Measurement{score.Name: values[run]}, nil
	}}
}

// fails yields the error every time.
func fails(name string, err error) player {
	return player{name, func(int) (Measurement, error) { return nil, err }}
}

func (s *script) Name() string        { return "script" }
func (s *script) Doc() string         { return "" }
func (s *script) Title() string       { return "" }
func (s *script) Columns() []Column   { return []Column{score} }
func (s *script) Baselines() []string { return []string{"A", "absent"} }

func (s *script) Prepare(context.Context) (Round, error) {
	s.done = append(s.done, "prepare")
	return &scriptRound{s, strings.Count(strings.Join(s.done, " "), "prepare") - 1}, s.prepared
}

type scriptRound struct {
	*script
	run int
}

func (r *scriptRound) Close(context.Context) error {
	r.done = append(r.done, "close")
	return r.closed
}

func (r *scriptRound) Contestants() []Contestant {
	var all []Contestant
	for _, p := range r.players {
		all = append(all, Contestant{Name: p.name, Measure: func(context.Context) (Measurement, error) {
			r.done = append(r.done, p.name)
			return p.turn(r.run)
		}})
	}
	return all
}

// quiet drops what would be logged.
var quiet = slog.New(slog.DiscardHandler)

func TestContestantsTakeTurns(t *testing.T) {
	row := &script{players: []player{scores("A", 1, 1), scores("B", 2, 2), scores("C", 3, 3)}}
	if _, err := Run(t.Context(), row, 2, quiet); err != nil {
		t.Fatal(err)
	}
	want := []string{"prepare", "A", "B", "C", "close", "prepare", "A", "B", "C", "close"}
	if !slices.Equal(row.done, want) {
		t.Errorf("got %v, want %v", row.done, want)
	}
}

func TestResultHasMediansAndRatios(t *testing.T) {
	row := &script{players: []player{scores("A", 1, 5, 2), scores("B", 7, 8, 6)}}
	result, err := Run(t.Context(), row, 3, quiet)
	if err != nil {
		t.Fatal(err)
	}
	b := result.Standings[1]
	if f := b.Figures[score.Name]; f.Median != 7 || f.Min != 6 || f.Max != 8 || !slices.Equal(f.Values, []float64{7, 8, 6}) {
		t.Errorf("figures: %+v", f)
	}
	if b.Ratios["A"] != 3.5 || len(b.Ratios) != 1 {
		t.Errorf("ratios: %v", b.Ratios)
	}
}

func TestAbsentAndFailedContestantsDoNotStopTheOthers(t *testing.T) {
	row := &script{players: []player{
		fails("absent", &Absent{Reason: "not built"}), fails("broken", errors.New("boom")), scores("C", 1, 2)}}
	result, err := Run(t.Context(), row, 2, quiet)
	if err != nil {
		t.Fatal(err)
	}
	absent, broken, c := result.Standings[0], result.Standings[1], result.Standings[2]
	if absent.Absent != "not built" || len(absent.Errors) > 0 {
		t.Errorf("absent: %+v", absent)
	}
	if !slices.Equal(broken.Errors, []string{"boom", "boom"}) || len(broken.Figures) > 0 {
		t.Errorf("broken: %+v", broken)
	}
	if c.Figures[score.Name].Median != 1.5 || len(c.Ratios) > 0 {
		t.Errorf("C: %+v", c)
	}
}

func TestPreparationThatFailsEndsTheRow(t *testing.T) {
	boom := errors.New("boom")
	row := &script{prepared: boom, players: []player{scores("A", 1)}}
	if _, err := Run(t.Context(), row, 1, quiet); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

func TestRemovalThatFailsIsReported(t *testing.T) {
	boom := errors.New("boom")
	row := &script{closed: boom, players: []player{scores("A", 1)}}
	result, err := Run(t.Context(), row, 1, quiet)
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if result.Standings[0].Figures[score.Name].Median != 1 {
		t.Error("what was measured is lost")
	}
}

func TestInterruptedRowIsCleanedUpAndKeepsWhatWasMeasured(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	row := &script{players: []player{scores("A", 1), {"B", func(int) (Measurement, error) {
		cancel()
		return nil, context.Canceled
	}}, scores("C", 1)}}
	result, err := Run(ctx, row, 3, quiet)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if want := []string{"prepare", "A", "B", "close"}; !slices.Equal(row.done, want) {
		t.Errorf("did %v, want %v", row.done, want)
	}
	if len(result.Standings) != 1 || result.Standings[0].Name != "A" {
		t.Errorf("standings: %+v", result.Standings)
	}
}
