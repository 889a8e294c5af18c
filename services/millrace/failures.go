package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"millrace/pkg/broker"
	"millrace/pkg/credential"
	"millrace/pkg/failures"
	"millrace/pkg/service"
	"millrace/services/millrace/node"
)

// failuresFlags are the command line of failures and of the commands below it.
type failuresFlags struct {
	config service.Config
	data   string
	json   bool
	choice choice
}

const failuresHelp = `JOB is a replication id, or the beginning of one, or a job's id. The records are where the
replication ran: in the data directory, or at the broker that --nats names.`

func newFailuresCommand() *cobra.Command {
	f := &failuresFlags{config: service.FromEnvironment()}
	f.config.LogLevel = "error"
	cmd := &cobra.Command{
		Use:   "failures [JOB]",
		Short: "List, show, export, replay or discard the documents that a replication could not write",
		Long: `Lists the documents that the target of a replication refused, or that the source had
no more: which revision, who refused it, why, and how often it was tried. Without JOB, the
jobs that have some. There is one record of each revision, and it goes when the document arrives.

` + failuresHelp + `

` + exitCodes,
		Args: atMost(1, "JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return f.listJobs(cmd)
			}
			return f.withJob(cmd, args[0], f.list)
		},
	}
	f.flags(cmd.PersistentFlags())
	f.choice.flags(cmd.Flags())
	cmd.AddCommand(f.showCommand(), f.exportCommand(), f.replayCommand(), f.discardCommand())
	return cmd
}

func (f *failuresFlags) flags(set *pflag.FlagSet) {
	set.BoolVar(&f.json, "json", false, "print lines of JSON")
	set.StringVar(&f.data, "data", "", "data directory ($MILLRACE_DATA; default $XDG_STATE_HOME/millrace)")
	f.config.Flags(set)
}

func atMost(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usageError(fmt.Errorf("%s: expected %s, got %d arguments", cmd.Name(), what, len(args)))
		}
		return nil
	}
}

func atLeast(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError(fmt.Errorf("%s: expected %s, got %d arguments", cmd.Name(), what, len(args)))
		}
		return nil
	}
}

// visited is a job whose records are at hand.
type visited struct {
	*node.Node
	*recordedJob
	store *failures.Store
}

// withJob does something about the job that an argument names.
func (f *failuresFlags) withJob(cmd *cobra.Command, name string, do func(*cobra.Command, *visited) error) error {
	places, err := f.places()
	if err != nil {
		return err
	}
	place, job, err := f.find(cmd, places, name)
	if err != nil {
		return err
	}
	return f.visit(cmd, place, func(n *node.Node, s *failures.Store) error {
		jobs, err := jobsAt(cmd.Context(), n, s)
		if err != nil {
			return failedError(err)
		}
		for _, j := range jobs {
			if j.ID == job.ID {
				return do(cmd, &visited{n, j, s})
			}
		}
		return failedError(fmt.Errorf("job %s is not there any more", job.ID))
	})
}

// visit does something at a place.
func (f *failuresFlags) visit(cmd *cobra.Command, p place, do func(*node.Node, *failures.Store) error) error {
	log, err := service.NewLogger(f.config, cmd.ErrOrStderr())
	if err != nil {
		return usageError(err)
	}
	config := f.config
	// Of a broker of its own, the only jobs are those of whoever runs the command.
	config.AnySecret = p.dir != "" && filepath.Base(p.dir) != "serve"
	if config.AnySecret {
		config.SecretNetrc = cmp.Or(config.SecretNetrc, credential.NetrcFile())
	}
	o := node.Options{Config: config, DataDir: p.dir, UUIDFile: p.uuidFile, Log: log}
	var n *node.Node
	if p.dir == "" {
		n, err = node.VisitBroker(cmd.Context(), o)
	} else {
		n, err = node.Visit(cmd.Context(), o)
	}
	if err != nil {
		return failedOrInterrupted(cmd.Context(), fmt.Errorf("%s: %w", p, err))
	}
	publisher := broker.NewPublisher(n.Broker(), broker.PublisherOptions{})
	err = do(n, failures.NewStore(n.Broker(), publisher))
	if cmd.Context().Err() != nil {
		err = &exitError{code: exitInterrupted}
	}
	if serr := errors.Join(publisher.Close(), n.Stop()); err == nil && serr != nil {
		err = failedError(serr)
	}
	return err
}

func failedOrInterrupted(ctx context.Context, err error) error {
	var exit *exitError
	switch {
	case err == nil, errors.As(err, &exit):
		return err
	case ctx.Err() != nil:
		return &exitError{code: exitInterrupted}
	}
	return failedError(err)
}

// choice says which records are meant.
type choice struct {
	ids          []string // of documents; from arguments
	rev          string
	status       int
	word, reason string
	stage        string
	all          bool
}

func (c *choice) flags(set *pflag.FlagSet) {
	set.StringVar(&c.rev, "rev", "", "only this revision")
	set.IntVar(&c.status, "status", 0, "only what was refused with this HTTP status")
	set.StringVar(&c.word, "error", "", "only what was refused with this word, such as forbidden")
	set.StringVar(&c.reason, "reason", "", "only what has this text in its reason")
	set.StringVar(&c.stage, "stage", "", "only what this stage rejected: bulk-writer or doc-fetcher")
}

// check says whether anything is chosen, where something has to be.
func (c *choice) check() error {
	some := len(c.ids) > 0 || c.rev != "" || c.status != 0 || c.word != "" || c.reason != "" || c.stage != ""
	switch {
	case c.all && some:
		return usageError(errors.New("expected --all or a choice, not both"))
	case !c.all && !some:
		return usageError(errors.New("expected ids of documents, a choice such as --status 403, or --all"))
	}
	return nil
}

func (c *choice) has(r *failures.Record) bool {
	return (len(c.ids) == 0 || contains(c.ids, r.Id)) &&
		(c.rev == "" || c.rev == r.Rev) &&
		(c.status == 0 || c.status == int(r.Status)) &&
		(c.word == "" || c.word == r.Error) &&
		(c.reason == "" || strings.Contains(r.Reason, c.reason)) &&
		(c.stage == "" || c.stage == r.Stage)
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

// width is how many columns a line may have; 0 where it is not a terminal.
func width(out io.Writer) int {
	if !isTerminal(out) {
		return 0
	}
	var columns int
	if _, err := fmt.Sscan(os.Getenv("COLUMNS"), &columns); err == nil && columns > 40 {
		return columns
	}
	return 120
}
