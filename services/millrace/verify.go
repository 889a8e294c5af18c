package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"millrace/pkg/couch"
	"millrace/pkg/credential"
	"millrace/pkg/endpoint"
	"millrace/pkg/replication"
	"millrace/pkg/service"
	"millrace/pkg/verify"
)

// verifyFlags are the command line of verify.
type verifyFlags struct {
	databaseFlags
	choice      choiceFlags
	options     verify.Options
	memory      int64 // MiB
	json, quiet bool
}

func newVerifyCommand() *cobra.Command {
	v := &verifyFlags{}
	cmd := &cobra.Command{
		Use:   "verify A B [B...] | --document FILE",
		Short: "Compare databases leaf by leaf, or targets with what is chosen for them",
		Long: `Compares the databases at the URLs A and B: the ids, all leaf revisions of every
document and what is deleted; with --bodies also what the leaves hold. Says what is
missing on which side. Local documents are not compared.

With the flags of a replication, or its document, A is a source and each B one of its
targets, which is to hold what is chosen for it. The source is read once, and each of its
leaf revisions is judged as its own _changes?filter=...&style=all_docs would. Differences are
a leaf that is chosen and that the target lacks, one that the target has and the filter
refuses ("unchosen"), and one that the source does not know ("foreign": written at the
target, or by another source; or older than what the source remembers). A revision that was
chosen and has been followed at the source by one that is not "has left the filter": it
stays at the target, as it does with CouchDB's replicator; it is counted and is no difference.

A user and a password come from the URL, or from MILLRACE_A_USER, MILLRACE_A_PASSWORD,
MILLRACE_B_USER and MILLRACE_B_PASSWORD, or from ~/.netrc; tokens, API keys and proxies
from the flags and variables below. They are never printed.

` + exitCodes,
		Args: func(_ *cobra.Command, args []string) error {
			if err := v.choice.arguments(args, "A", "B"); err != nil {
				return usageError(fmt.Errorf("verify: %w", err))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd, args) },
	}
	addGroups(cmd,
		group("What is in the targets", func(f *pflag.FlagSet) { v.choice.add(f, "expect") }), group("Comparison", v.own),
		v.endpoints[0].group("a", "Database A"), v.endpoints[1].group("b", "Database B"))
	return cmd
}

func (v *verifyFlags) own(f *pflag.FlagSet) {
	f.BoolVar(&v.options.Bodies, "bodies", false, "compare bodies by value, histories and attachments too")
	f.StringArrayVar(&v.options.DocIDs, "only", nil, "look at this document only, on both sides; may be repeated")
	f.BoolVar(&v.options.IgnoreDesign, "ignore-design", false, "leave out design documents")
	f.BoolVar(&v.options.Settle, "settle", false, "look again at what differs, though neither database has changed meanwhile")
	f.IntVar(&v.options.Rechecks, "rechecks", verify.DefaultRechecks, "how often to look again at what differs while the databases change")
	f.DurationVar(&v.options.RecheckInterval, "recheck-interval", verify.DefaultRecheckInterval, "wait before looking again")
	f.IntVar(&v.options.Shown, "show", verify.DefaultShown, "how many differences to list")
	f.Int64Var(&v.memory, "memory", verify.DefaultMemory>>20, "memory for sorting, in MiB")
	f.StringVar(&v.options.TempDir, "temp-dir", "", "directory for what does not fit into memory (default $TMPDIR)")
	f.BoolVar(&v.json, "json", false, "print the report as one JSON object, those of several targets as one a line and a total")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "print no report: the exit code says it")
	v.addNetrc(f)
}

func (v *verifyFlags) run(cmd *cobra.Command, args []string) error {
	spec, err := v.spec(cmd.InOrStdin(), args)
	if err != nil {
		return usageError(err)
	}
	pool := couch.NewPool(nil) // targets of one server share its connections
	source, err := v.open(pool, "A", spec.Source, spec)
	if err != nil {
		return usageError(err)
	}
	defer source.Close()
	targets := make([]*couch.DB, len(spec.Targets))
	for i, t := range spec.Targets {
		if targets[i], err = v.open(pool, "B", t.Endpoint, spec); err != nil {
			return usageError(err)
		}
		defer targets[i].Close()
	}
	outcomes, err := v.compare(cmd, spec, source, targets)
	switch {
	case cmd.Context().Err() != nil:
		return &exitError{code: exitInterrupted}
	case err != nil:
		return failedError(err)
	}
	if len(outcomes) > 1 {
		return v.several(cmd.OutOrStdout(), targets, outcomes)
	}
	report, err := outcomes[0].Report, outcomes[0].Err
	if err != nil {
		return failedError(err)
	}
	if err := v.print(cmd.OutOrStdout(), report); err != nil {
		return failedError(err)
	}
	if !report.Same {
		return &exitError{code: exitDifferent}
	}
	return nil
}

// spec is the replication whose outcome is verified, by way of its document.
func (v *verifyFlags) spec(stdin io.Reader, args []string) (*replication.Spec, error) {
	doc, err := v.choice.read(stdin)
	if err != nil {
		return nil, err
	}
	if err := v.choice.choose(doc); err != nil {
		return nil, err
	}
	if err := v.databases(doc, args, false); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	spec, err := replication.ParseSpec(encoded)
	switch {
	case err != nil:
		return nil, err
	case len(spec.Targets) == 0:
		return nil, errors.New("the document has no targets")
	case spec.SinceSeq != nil:
		return nil, errors.New("what a replication with since_seq has carried cannot be told: verify without it")
	}
	return spec, nil
}

// open opens a database as a replication would.
func (v *verifyFlags) open(pool *couch.Pool, role string, e replication.Endpoint, spec *replication.Spec) (*couch.DB, error) {
	options := couch.Options{UserAgent: "Millrace/" + service.Version()}
	db, err := endpoint.Of(e, spec).Open(pool, credential.Rules{Any: true}, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	return db, nil
}

// compare shows progress while it runs, where somebody is watching.
func (v *verifyFlags) compare(cmd *cobra.Command, spec *replication.Spec, source *couch.DB, targets []*couch.DB) ([]verify.Outcome, error) {
	o := v.options
	o.Memory = v.memory << 20
	o.Shown, o.Rechecks = orNone(o.Shown), orNone(o.Rechecks)
	o.WinningRevsOnly = spec.WinningRevsOnly
	o.Progress = new(verify.Progress)
	if !v.quiet && !v.json && isTerminal(os.Stderr) {
		defer showProgress(cmd.ErrOrStderr(), o.Progress)()
	}
	if len(targets) == 1 && !chooses(spec) {
		report, err := verify.Compare(cmd.Context(), source, targets[0], o)
		return []verify.Outcome{{Report: report}}, err
	}
	return compareTargets(cmd.Context(), spec, source, targets, o)
}

// orNone says in the package's words that a flag is 0: there, that is the default.
func orNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func (v *verifyFlags) print(out io.Writer, report *verify.Report) error {
	if v.quiet {
		return nil
	}
	if !v.json {
		_, err := fmt.Fprintln(out, report)
		return err
	}
	return json.NewEncoder(out).Encode(report)
}

// progressInterval is how often the line of progress changes.
const progressInterval = 500 * time.Millisecond

// showProgress keeps a line of progress until stop is called, which removes it.
func showProgress(out io.Writer, p *verify.Progress) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		before := int64(0)
		for {
			select {
			case <-ticker.C:
				compared := p.Compared.Load()
				rate := float64(compared-before) / progressInterval.Seconds()
				before = compared
				fmt.Fprintf(out, "\r\x1b[K%d of about %d changes read, %d documents compared, %.0f docs/s",
					p.Read.Load(), p.Expected.Load(), compared, rate)
			case <-quit:
				fmt.Fprint(out, "\r\x1b[K")
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
