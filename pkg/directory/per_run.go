package directory

import (
	"sync"

	millracev1 "millrace/proto/millrace/v1"
)

// perRunLimit bounds what PerRun keeps (invariant 5). What is forgotten is
// made anew.
const perRunLimit = 4096

// PerRun keeps something a stage learns about each run and can do without: a
// cache. It forgets a job's older runs when a newer one appears.
type PerRun[T any] struct {
	create func() T

	mu   sync.Mutex
	runs map[string]perRun[T] // by job
}

type perRun[T any] struct {
	run   uint64
	value T
}

// NewPerRun returns an empty cache whose values begin as create makes them.
func NewPerRun[T any](create func() T) *PerRun[T] {
	return &PerRun[T]{create: create, runs: map[string]perRun[T]{}}
}

// Of returns the value of the run that the position belongs to.
func (p *PerRun[T]) Of(pos *millracev1.Position) T {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.runs[pos.GetJob()]; ok && known.run == pos.GetRun() {
		return known.value
	}
	if len(p.runs) >= perRunLimit {
		clear(p.runs)
	}
	value := p.create()
	p.runs[pos.GetJob()] = perRun[T]{pos.GetRun(), value}
	return value
}
