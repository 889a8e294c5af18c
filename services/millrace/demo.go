package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"millrace/pkg/service"
	"millrace/pkg/verify"
	"millrace/services/millrace/shop"
)

// demoFlags are the command line of demo.
type demoFlags struct {
	config                 service.Config
	docs                   int
	seed                   uint64
	sourcePort, targetPort uint16
	data                   string
	workers                int
	once                   bool
}

func newDemoCommand() *cobra.Command {
	d := &demoFlags{config: service.FromEnvironment()}
	d.config.LogLevel = "error"
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it: two databases, the whole pipeline, live progress, a verify, then live changes",
		Long: `Starts two database servers in this process, fills one with the documents of a shop
(with edits, deletions, conflicts and photos), replicates it into the other through
the whole pipeline, compares the two, and goes on replicating what you add, until
interrupted. Nothing needs to be installed, nothing listens beyond this machine, and
nothing is left behind.

` + exitCodes,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd) },
	}
	f := cmd.Flags()
	f.IntVar(&d.docs, "docs", 50_000, "documents in the shop")
	f.Uint64Var(&d.seed, "seed", 1, "the same seed gives the same documents")
	f.Uint16Var(&d.sourcePort, "source-port", 0, "port of the source's server; 0 takes a free one")
	f.Uint16Var(&d.targetPort, "target-port", 0, "port of the target's server; 0 takes a free one")
	f.StringVar(&d.data, "data", "", "keep the pipeline's streams in a new folder in this directory (default: a temporary one, removed at the end)")
	f.IntVar(&d.workers, "workers", service.DefaultPerJob, "batches that each stage works on at once")
	f.BoolVar(&d.once, "once", false, "end after the verify")
	d.config.LogFlags(f)
	return cmd
}

func (d *demoFlags) run(cmd *cobra.Command) error {
	if d.docs < 1 {
		return usageError(fmt.Errorf("--docs: expected at least 1, got %d", d.docs))
	}
	// The demo is the same everywhere: it has a broker of its own, whatever the
	// environment names.
	d.config.NATS = ""
	if err := d.config.Check(); err != nil {
		return usageError(err)
	}
	log, err := service.NewLogger(d.config, cmd.ErrOrStderr())
	if err != nil {
		return usageError(err)
	}
	err = d.show(cmd, log)
	if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return &exitError{code: exitInterrupted}
	}
	var code *exitError
	if err != nil && !errors.As(err, &code) {
		return failedError(err)
	}
	return err
}

// demo is one showing.
type demo struct {
	flags    *demoFlags
	cmd      *cobra.Command
	out      io.Writer
	shop     *shop.Shop
	ponds    *ponds
	pipeline *pipeline
}

// show is the demo from the beginning to the end.
func (d *demoFlags) show(cmd *cobra.Command, log *slog.Logger) (err error) {
	s := &demo{flags: d, cmd: cmd, out: cmd.OutOrStdout(), shop: shop.New(d.docs, d.seed)}
	if s.ponds, err = openPonds(d.sourcePort, d.targetPort); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.ponds.close()) }()
	if err := s.load(); err != nil {
		return err
	}
	streams, remove, err := demoStreams(d.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if s.pipeline, err = startPipeline(cmd, d, streams, log); err != nil {
		return err
	}
	// The last checkpoints are written here: the ponds are closed after it.
	defer func() { err = errors.Join(err, s.pipeline.stop()) }()
	if err := s.replicate(); err != nil {
		return err
	}
	compared := s.verify()
	if d.once || cmd.Context().Err() != nil {
		return compared
	}
	// A difference does not end the demo: whoever sees one wants to look at it.
	return errors.Join(compared, s.live())
}

// load fills the source.
func (s *demo) load() error {
	ctx := s.cmd.Context()
	if err := s.ponds.source.Create(ctx, nil); err != nil {
		return err
	}
	began := time.Now()
	m := newMeter(s.cmd.ErrOrStderr())
	census, err := s.shop.Load(ctx, s.ponds.source, func(docs int) {
		m.show(fmt.Sprintf("filling the source: %d of %d documents", docs, s.shop.Docs()))
	})
	m.done()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "source: %s, filled in %s with %d documents (%s):\n", s.ponds.source, brief(time.Since(began)),
		census.Documents, size(uint64(census.Bytes)))
	fmt.Fprintf(s.out, "        %d edited, %d deleted, %d in conflict, %d once in conflict; %d leaf revisions; %d attachments (%s)\n",
		census.Edited, census.Deleted, census.Conflicts, census.Resolved, census.Leaves,
		census.Attachments, size(uint64(census.AttachmentBytes)))
	return nil
}

// replicate begins the replication and shows it up to where the target has what the source has.
func (s *demo) replicate() error {
	began := time.Now()
	if err := s.pipeline.begin(s.ponds, s.flags.workers); err != nil {
		return err
	}
	c, err := s.pipeline.catchUp()
	if err != nil {
		return err
	}
	took := time.Since(began)
	seconds := took.Seconds()
	fmt.Fprintf(s.out, "target: %s, replicated in %s: %d leaf revisions, %s; %.0f docs/s, %s/s\n", s.ponds.target, brief(took),
		c.GetDocsWritten(), size(c.GetBytesWritten()), float64(c.GetDocsWritten())/seconds,
		size(uint64(float64(c.GetBytesWritten())/seconds)))
	if n := c.GetDocWriteFailures(); n > 0 {
		fmt.Fprintf(s.out, "        %d rejected\n", n)
	}
	return nil
}

// verify compares the databases. The error for a difference has verify's exit code.
func (s *demo) verify() error {
	began := time.Now()
	report, err := s.compare()
	if err != nil {
		return err
	}
	if !report.Same {
		fmt.Fprintln(s.out, report)
		return &exitError{code: exitDifferent}
	}
	fmt.Fprintf(s.out, "verify: %d documents with %d leaf revisions are the same, with bodies, histories and attachments (%s)\n",
		report.MatchingDocuments, report.MatchingLeaves, brief(time.Since(began)))
	return nil
}

func (s *demo) compare() (*verify.Report, error) {
	o := verify.Options{Bodies: true, Settle: true, Progress: new(verify.Progress)}
	if out := s.cmd.ErrOrStderr(); isTerminal(out) {
		defer showProgress(out, o.Progress)()
	}
	return verify.Compare(s.cmd.Context(), s.ponds.source, s.ponds.target, o)
}

// demoStreams is the directory for the pipeline's streams, and what removes it.
func demoStreams(in string) (dir string, remove func() error, err error) {
	if in != "" {
		if err := os.MkdirAll(in, 0o700); err != nil {
			return "", nil, usageError(fmt.Errorf("--data: %w", err))
		}
	}
	if dir, err = os.MkdirTemp(in, "millrace-demo-"); err != nil {
		return "", nil, fmt.Errorf("make a directory for the streams: %w", err)
	}
	if in != "" {
		return dir, func() error { return nil }, nil
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// brief is a duration for people.
func brief(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	default:
		return d.Round(100 * time.Microsecond)
	}
}
