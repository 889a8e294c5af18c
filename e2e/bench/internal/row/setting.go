// Package row holds what is measured: the rows of the table in DESIGN section 9.
// Rows that load a target are one [load] with different goods, near or far. A new
// row implements [contest.Row] and is added to [All].
package row

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/corpus"
	"millrace/e2e/bench/internal/millrace"
	"millrace/e2e/bench/internal/procfs"
	"millrace/e2e/bench/internal/server"
	"millrace/e2e/bench/internal/usage"
)

// Setting is what all rows work with.
type Setting struct {
	Source, Target *server.Server
	Usage          *usage.Servers
	FS             procfs.FS
	Log            *slog.Logger

	// Millrace is the program under measurement. If it is nil, MillraceAbsent
	// says why.
	Millrace       *millrace.Program
	MillraceAbsent error

	Docs     int    // documents of an initial load
	Size     int    // bytes of each document
	Changes  int    // single changes whose latency is measured
	Seed     uint64 // of the documents
	Batch    int    // documents in a request of the bare limit
	InFlight int    // requests of the bare limit at a time and server
	Cores    int    // that source and target share, if they are local

	OwnerDocs  int // documents of each owner, where there are owners
	OwnTargets int // how many targets the source's own replicator is given at most

	Attachments    int           // documents with an attachment
	AttachmentSize int           // bytes of each attachment
	Large          int           // bytes of a large attachment
	RTT            time.Duration // round trip between two sides that are far from each other
	FarInFlight    int           // requests of the bare limit at a time to a target that is far
}

// All returns every row, in the order of the table in DESIGN section 9.
func All(s *Setting) []contest.Row {
	return slices.Concat(
		[]contest.Row{one(s), &latency{s}, full(s)}, selectors(s),
		attachments(s, "attachments", corpus.Binary(), "binary, as stored by the source"),
		attachments(s, "texts", corpus.Text(), "text, which the servers store compressed"),
		large(s),
	)
}

// The quantities that several rows measure.
var (
	docsPerSecond = contest.Column{Name: "docs/s", Unit: "docs/s"}
	sourceCPU     = contest.Column{Name: "source CPU", Unit: "s", Decimals: 2}
	targetCPU     = contest.Column{Name: "target CPU", Unit: "s", Decimals: 2}
	serversCPU    = contest.Column{Name: "servers CPU", Unit: "s", Decimals: 2}
	clientCPU     = contest.Column{Name: "client CPU", Unit: "s", Decimals: 2}
	// machineCPU says how far a turn was disturbed: what it has beyond servers
	// and client is the harness's own few hundredths, or somebody else's.
	machineCPU = contest.Column{Name: "machine CPU", Unit: "s", Decimals: 2}
	peakRSS    = contest.Column{Name: "client RSS", Unit: "MB"}
)

// Names of the contestants that others are compared with.
const (
	bareName     = "bare"
	ownName      = "own replicator"
	ourName      = "millrace"
	servicesName = "millrace services"
)

// settle waits until the servers are at rest, so that nobody pays for what the
// contestant before left behind.
func (s *Setting) settle(ctx context.Context) error {
	quiet, err := s.Usage.Settle(ctx)
	if err != nil {
		return fmt.Errorf("wait for the servers to come to rest: %w", err)
	}
	if !quiet {
		s.Log.Warn("the servers do not come to rest; the figures will be too high")
	}
	return nil
}

// metered does work and returns the servers' processor time for it and its
// wall time. On servers elsewhere the measurement has no processor time.
func (s *Setting) metered(work func() error) (contest.Measurement, time.Duration, error) {
	m := contest.Measurement{}
	before, err := s.Usage.Read()
	local := err == nil
	if err != nil && !errors.Is(err, usage.ErrNotLocal) {
		return nil, 0, err
	}
	start := time.Now()
	if err := work(); err != nil {
		return nil, 0, err
	}
	wall := time.Since(start)
	if !local {
		return m, wall, nil
	}
	after, err := s.Usage.Read()
	if err != nil {
		return nil, 0, err
	}
	used := after.Sub(before)
	m[sourceCPU.Name] = used.Source.Seconds()
	m[targetCPU.Name] = used.Target.Seconds()
	m[serversCPU.Name] = used.Both.Seconds()
	m[machineCPU.Name] = used.Machine.Seconds()
	return m, wall, nil
}

// meteredClient is metered with the processor time of the process that moves
// the documents added. A system that cannot tell leaves it out.
func (s *Setting) meteredClient(pid int, work func() error) (contest.Measurement, time.Duration, error) {
	before, errBefore := s.FS.CPU([]int{pid})
	m, wall, err := s.metered(work)
	if err != nil {
		return nil, 0, err
	}
	after, errAfter := s.FS.CPU([]int{pid})
	if errBefore == nil && errAfter == nil {
		m[clientCPU.Name] = (after - before).Seconds()
	}
	return m, wall, nil
}

// meteredHarness is meteredClient for a contestant that is the harness itself.
func (s *Setting) meteredHarness(work func() error) (contest.Measurement, time.Duration, error) {
	return s.meteredClient(os.Getpid(), work)
}

// withTarget makes a database on the target, has work use it and removes it.
func (s *Setting) withTarget(ctx context.Context, work func(*server.Database) error) (err error) {
	target, err := s.Target.Fresh(ctx, "target")
	if err != nil {
		return fmt.Errorf("make target: %w", err)
	}
	defer func() { err = errors.Join(err, target.Drop(ctx)) }()
	return work(target)
}

// withPair is withTarget with an empty source beside it.
func (s *Setting) withPair(ctx context.Context, work func(source, target *server.Database) error) (err error) {
	source, err := s.Source.Fresh(ctx, "source")
	if err != nil {
		return fmt.Errorf("make source: %w", err)
	}
	defer func() { err = errors.Join(err, source.Drop(ctx)) }()
	return s.withTarget(ctx, func(target *server.Database) error { return work(source, target) })
}
