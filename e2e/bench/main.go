// Command bench measures replication between two CouchDB-protocol servers:
// Millrace, beside the limit that the servers set and beside the source's own
// replicator. It prints figures and never judges them. See DESIGN section 9.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/millrace"
	"millrace/e2e/bench/internal/procfs"
	"millrace/e2e/bench/internal/report"
	"millrace/e2e/bench/internal/row"
	"millrace/e2e/bench/internal/server"
	"millrace/e2e/bench/internal/usage"
)

func main() {
	opts, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, opts); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and prints. What had been measured is printed even if the rest
// could not be.
func run(ctx context.Context, opts *options) error {
	source, err := server.Open(opts.source)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	defer source.Close()
	target, err := server.Open(opts.target)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer target.Close()
	setting, err := newSetting(ctx, opts, source, target)
	if err != nil {
		return err
	}
	result, err := describe(ctx, opts, setting)
	if err != nil {
		return err
	}
	measured := measure(ctx, opts, setting, result)
	if opts.json {
		return errors.Join(measured, result.JSON(os.Stdout))
	}
	return errors.Join(measured, result.Text(os.Stdout))
}

// newSetting gathers what the rows work with.
func newSetting(ctx context.Context, opts *options, source, target *server.Server) (*row.Setting, error) {
	proc := procfs.New("/proc")
	servers, err := usage.Find(ctx, proc, source.URL(), target.URL())
	if err != nil {
		return nil, err
	}
	program, absent := millrace.Find(opts.millrace, opts.millraceArgs, proc)
	return &row.Setting{
		Source: source, Target: target, Usage: servers, FS: proc,
		Log:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Millrace: program, MillraceAbsent: absent,
		Docs: opts.docs, Size: opts.size, Changes: opts.changes, Seed: opts.seed,
		Batch: opts.batch, InFlight: opts.inFlight, Cores: runtime.GOMAXPROCS(0),
		Attachments: opts.attachments, AttachmentSize: opts.attachmentSize, Large: opts.large,
		RTT: opts.rtt, FarInFlight: opts.farInFlight,
		OwnerDocs: opts.ownerDocs, OwnTargets: opts.ownTargets,
	}, nil
}

// describe begins the report: on what is measured, and how.
func describe(ctx context.Context, opts *options, s *row.Setting) (*report.Report, error) {
	source, err := identify(ctx, s.Source)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	target, err := identify(ctx, s.Target)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	return &report.Report{
		Time:    time.Now().UTC().Truncate(time.Second),
		Machine: report.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: s.Cores, Go: runtime.Version()},
		Source:  source, Target: target, Setting: opts.setting(),
	}, nil
}

// identify asks a server what it is.
func identify(ctx context.Context, s *server.Server) (report.Server, error) {
	w, err := s.Welcome(ctx)
	if err != nil {
		return report.Server{}, err
	}
	return report.Server{URL: s.URL().String(), Vendor: w.Vendor.Name, Version: w.Version}, nil
}

// measure adds the rows that were asked for to the report.
func measure(ctx context.Context, opts *options, s *row.Setting, to *report.Report) error {
	for _, r := range row.All(s) {
		if !opts.wants(r.Name()) {
			continue
		}
		result, err := contest.Run(ctx, r, opts.runs, s.Log)
		to.Rows = append(to.Rows, result)
		if err != nil {
			return err
		}
	}
	return nil
}
