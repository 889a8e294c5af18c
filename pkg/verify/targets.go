package verify

import (
	"context"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/couch"
	"millrace/pkg/filter"
)

// targetsAtOnce is how many targets are compared at the same time.
const targetsAtOnce = 4

// Target is a database that a source is replicated into.
type Target struct {
	DB *couch.DB
	// Filter chooses what of the source belongs there; nil means all. Targets that have the same one
	// share what it decides.
	Filter *filter.Filter
}

// Outcome is what was found of one target.
type Outcome struct {
	// Report has the source as A and the target as B; nil if Err is not.
	Report *Report
	// Err is a [ReadError], or what is wrong with the filter.
	Err error
}

// CompareTargets says of each target whether it holds what belongs there of the source. The source is
// read once for all of them. The outcomes are in the order of the targets; the error is that of
// the source, a [ReadError], or of the temporary files.
//
// A filter decides on every leaf of the source. What the target lacks of those chosen is a
// difference. What it has beside them is one, too, unless it has [LeftFilter].
func CompareTargets(ctx context.Context, source *couch.DB, targets []Target, o Options) ([]Outcome, error) {
	o = o.withDefaults()
	f := &fan{options: o, source: &side{name: A, db: source, progress: o.Progress, winners: o.WinningRevsOnly}}
	byFilter := map[*filter.Filter]*group{}
	groups := make([]*group, len(targets))
	for i, t := range targets {
		g := byFilter[t.Filter]
		if g == nil {
			g = f.group(t.Filter)
			byFilter[t.Filter] = g
		}
		groups[i] = g
	}
	sections, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	defer sections.close()
	outcomes := make([]Outcome, len(targets))
	var workers errgroup.Group
	workers.SetLimit(targetsAtOnce)
	for i, t := range targets {
		workers.Go(func() error {
			outcomes[i] = f.compare(ctx, t.DB, groups[i], sections, len(targets))
			return nil
		})
	}
	_ = workers.Wait() // an error is its target's
	return outcomes, context.Cause(ctx)
}

// fan is a comparison of one source with several targets.
type fan struct {
	options Options
	source  *side
	groups  []*group
}

func (f *fan) group(by *filter.Filter) *group {
	g := &group{number: uint32(len(f.groups)), filter: by, whole: !f.source.winners && (by == nil || by.WantsAll())}
	if by == nil {
		g.filter = new(filter.Filter)
	}
	f.groups = append(f.groups, g)
	return g
}

// read reads the source, and returns what each group chooses of it, sorted: a run for each.
func (f *fan) read(ctx context.Context) (*spill, error) {
	if err := f.source.begin(ctx); err != nil {
		return nil, err
	}
	rows := newSorter(f.options.TempDir, f.options.Memory/2)
	defer rows.close()
	var encoded []byte
	r := newReading(f.source, f.groups, func(g *group, id string, found row) error {
		encoded = found.append(encoded[:0])
		return rows.add(g.key(id), encoded)
	})
	r.bodies = f.options.Bodies
	if err := r.all(ctx, f.options); err != nil {
		return nil, err
	}
	sorted, err := rows.sorted(ctx)
	if err != nil {
		return nil, err
	}
	from := &cursor{from: sorted}
	if err := from.advance(); err != nil {
		return nil, err
	}
	sections, err := newSpill(f.options.TempDir)
	if err != nil {
		return nil, err
	}
	for _, g := range f.groups {
		if err := sections.write(&section{from: from, group: g}, rows.size.buffer); err != nil {
			sections.close()
			return nil, err
		}
	}
	return sections, nil
}

// compare compares one target with what its group has chosen.
func (f *fan) compare(ctx context.Context, db *couch.DB, g *group, sections *spill, targets int) Outcome {
	if err := g.failure(); err != nil {
		return Outcome{Err: err}
	}
	atOnce := min(targets, targetsAtOnce)
	o := f.options
	o.Memory = max(o.Memory/int64(atOnce), minMemory)
	o.Concurrency = max(o.Concurrency/atOnce, 1)
	source := *f.source
	c := &comparison{
		options: o, a: &source, b: &side{name: B, db: db, progress: o.Progress},
		tally: tally{shownLimit: o.Shown, suspectLimit: o.RecheckLimit},
		readA: func() records {
			return sections.openAll(sections.runs[g.number:g.number+1], int(o.Memory/64))[0]
		},
	}
	if !g.whole {
		c.chosen = g
	}
	if err := c.run(ctx); err != nil {
		return Outcome{Err: err}
	}
	return Outcome{Report: c.report()}
}
