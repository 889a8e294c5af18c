// Package contest has several contestants do the same work in turn, several
// times over, and collects what was measured. It knows neither databases nor
// replicators.
package contest

import (
	"context"
	"maps"
)

// Row is one piece of work that all contestants do: a row of the table in
// DESIGN section 9.
type Row interface {
	// Name is the short word by which a person chooses the row.
	Name() string
	// Doc says in one sentence what is measured.
	Doc() string
	// Title says how much of it is done with the settings at hand.
	Title() string
	// Columns are the quantities measured. The first one is what contestants
	// are compared by; less is better.
	Columns() []Column
	// Baselines are the names of the contestants that all are compared with.
	Baselines() []string
	// Prepare makes what the contestants of one run share, such as a source
	// full of documents. The caller closes the round.
	Prepare(ctx context.Context) (Round, error)
}

// Round is one run of a row.
type Round interface {
	// Contestants returns who takes part, in the order of their turns. It is
	// the same list in every round.
	Contestants() []Contestant
	// Close removes what was prepared, even when ctx is cancelled.
	Close(ctx context.Context) error
}

// Column is one measured quantity.
type Column struct {
	Name     string `json:"name"`
	Unit     string `json:"unit"`
	Decimals int    `json:"-"`
	// Detail marks a quantity that only some contestants have, printed below
	// the table and not in it.
	Detail bool `json:"detail,omitempty"`
}

// Measurement is what one turn of one contestant yielded, by name of column.
// What could not be measured is not in it.
type Measurement map[string]float64

// With returns m together with the quantities of more, which win.
func (m Measurement) With(more Measurement) Measurement {
	all := make(Measurement, len(m)+len(more))
	maps.Copy(all, m)
	maps.Copy(all, more)
	return all
}

// Contestant does the work in its own way.
type Contestant struct {
	Name string
	// Doc says exactly what the contestant does.
	Doc string
	// Measure takes one turn: it does everything from making its target to
	// removing it. An error that is an [*Absent] says that there is no such
	// contestant here, any other that it failed.
	Measure func(ctx context.Context) (Measurement, error)
}

// Absent is the error of a contestant that cannot take part.
type Absent struct {
	Reason string
}

func (a *Absent) Error() string {
	return a.Reason
}
