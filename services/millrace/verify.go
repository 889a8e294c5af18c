package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
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
	options     verify.Options
	memory      int64 // MiB
	json, quiet bool
	netrc       string
	endpoints   [2]endpointFlags
}

func newVerifyCommand() *cobra.Command {
	v := &verifyFlags{}
	cmd := &cobra.Command{
		Use:   "verify A B",
		Short: "Compare two databases leaf by leaf",
		Long: `Compares the databases at the URLs A and B: the ids, all leaf revisions of every
document and what is deleted; with --bodies also what the leaves hold. Says what is
missing on which side. Local documents are not compared.

A user and a password come from the URL, or from MILLRACE_A_USER, MILLRACE_A_PASSWORD,
MILLRACE_B_USER and MILLRACE_B_PASSWORD, or from ~/.netrc; tokens, API keys and proxies
from the flags and variables below. They are never printed.

` + exitCodes,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError(fmt.Errorf("verify: expected A and B, got %d arguments", len(args)))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd, args[0], args[1]) },
	}
	addGroups(cmd, group("Comparison", v.own), v.endpoints[0].group("a", "Database A"), v.endpoints[1].group("b", "Database B"))
	return cmd
}

func (v *verifyFlags) own(f *pflag.FlagSet) {
	f.BoolVar(&v.options.Bodies, "bodies", false, "compare bodies by value, histories and attachments too")
	f.StringArrayVar(&v.options.DocIDs, "doc-id", nil, "compare this document only; may be repeated")
	f.BoolVar(&v.options.IgnoreDesign, "ignore-design", false, "leave out design documents")
	f.BoolVar(&v.options.Settle, "settle", false, "look again at what differs, though neither database has changed meanwhile")
	f.IntVar(&v.options.Rechecks, "rechecks", verify.DefaultRechecks, "how often to look again at what differs while the databases change")
	f.DurationVar(&v.options.RecheckInterval, "recheck-interval", verify.DefaultRecheckInterval, "wait before looking again")
	f.IntVar(&v.options.Shown, "show", verify.DefaultShown, "how many differences to list")
	f.Int64Var(&v.memory, "memory", verify.DefaultMemory>>20, "memory for sorting, in MiB")
	f.StringVar(&v.options.TempDir, "temp-dir", "", "directory for what does not fit into memory (default $TMPDIR)")
	f.BoolVar(&v.json, "json", false, "print the report as one JSON object")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "print no report: the exit code says it")
	f.StringVar(&v.netrc, "netrc", "", "netrc file (default $NETRC or ~/.netrc)")
}

func (v *verifyFlags) run(cmd *cobra.Command, argA, argB string) error {
	a, err := v.open(0, argA)
	if err != nil {
		return usageError(err)
	}
	defer a.Close()
	b, err := v.open(1, argB)
	if err != nil {
		return usageError(err)
	}
	defer b.Close()
	report, err := v.compare(cmd, a, b)
	switch {
	case err != nil && cmd.Context().Err() != nil:
		return &exitError{code: exitInterrupted}
	case err != nil:
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

// open opens a database as a replication would.
func (v *verifyFlags) open(i int, arg string) (*couch.DB, error) {
	f := &v.endpoints[i]
	role := strings.ToUpper(f.role)
	o, err := f.object(nil, arg, v.netrc, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	encoded, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	e, err := replication.ParseEndpoint(role, encoded)
	if err != nil {
		return nil, err
	}
	spec := &replication.Spec{Tuning: replication.DefaultTuning()}
	options := couch.Options{UserAgent: "Millrace/" + service.Version()}
	db, err := endpoint.Of(e, spec).Open(couch.NewPool(nil), credential.Rules{Any: true}, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	return db, nil
}

// compare shows progress while it runs, where somebody is watching.
func (v *verifyFlags) compare(cmd *cobra.Command, a, b *couch.DB) (*verify.Report, error) {
	o := v.options
	o.Memory = v.memory << 20
	o.Shown, o.Rechecks = orNone(o.Shown), orNone(o.Rechecks)
	o.Progress = new(verify.Progress)
	if !v.quiet && !v.json && isTerminal(os.Stderr) {
		defer showProgress(cmd.ErrOrStderr(), o.Progress)()
	}
	return verify.Compare(cmd.Context(), a, b, o)
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
