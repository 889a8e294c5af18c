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
	"github.com/spf13/pflag"

	"millrace/pkg/broker"
	"millrace/pkg/replication"
	"millrace/pkg/service"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/millrace/node"
	"millrace/services/replicator/replicator"
)

// replicateFlags are the command line of replicate.
type replicateFlags struct {
	config     service.Config
	data, uuid string
	document   documentFlags
	databaseFlags
	json, quiet   bool
	retries       int
	stallInterval time.Duration
}

func newReplicateCommand() *cobra.Command {
	r := &replicateFlags{config: service.FromEnvironment()}
	r.config.LogLevel = "error"
	cmd := &cobra.Command{
		Use:   "replicate SOURCE TARGET [TARGET...] | --document FILE",
		Short: "Replicate one database into another, or into several",
		Long: `Replicates the database at URL SOURCE into the one at URL TARGET, or into each of several,
for which the source is read once. A target that fails holds up no other.

The pipeline runs in this process, with its streams in the data directory; with --nats
the services at that broker do the work, and this command shows how it goes. The
replication is resumed from the checkpoints at both databases, which CouchDB's own
replicator reads and writes as well.

A user and a password come from the URL, or from MILLRACE_SOURCE_USER,
MILLRACE_SOURCE_PASSWORD, MILLRACE_TARGET_USER and MILLRACE_TARGET_PASSWORD, or
from ~/.netrc; tokens, API keys and proxies from the flags and variables below. They are
never printed.

With --document, the fields of CouchDB's replication document are read from a file, endpoints
included; options that have no effect here are named. Its "targets" may each have terms
of their own: {"targets": [{"target": URL, "selector": {...}}, ...]}.

` + exitCodes,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := r.document.arguments(args, "SOURCE", "TARGET"); err != nil {
				return usageError(fmt.Errorf("replicate: %w", err))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd, args) },
	}
	addGroups(cmd, r.groups()...)
	return cmd
}

// groups are the command's flags.
func (r *replicateFlags) groups() []flagGroup {
	return []flagGroup{
		group("What is replicated, and how", r.document.add),
		r.endpoints[0].group("source", "Source"),
		r.endpoints[1].group("target", "Target"),
		group("This program", r.own),
	}
}

func (r *replicateFlags) own(f *pflag.FlagSet) {
	f.BoolVar(&r.json, "json", false, "print progress and summary as lines of JSON")
	f.BoolVarP(&r.quiet, "quiet", "q", false, "print the summary only")
	f.IntVar(&r.retries, "retries", 10, "crashes in a row after which to give up; 0 means never")
	r.addNetrc(f)
	f.StringVar(&r.data, "data", "", "data directory ($MILLRACE_DATA; default $XDG_STATE_HOME/millrace)")
	f.StringVar(&r.uuid, "uuid", "", "this server's uuid, part of the replication id (default: kept in the data directory)")
	f.DurationVar(&r.stallInterval, "stall-interval", 5*time.Second, "how often to look after a run that gets no further")
	r.config.Flags(f)
}

func (r *replicateFlags) run(cmd *cobra.Command, databases []string) error {
	if err := r.config.Check(); err != nil {
		return usageError(err)
	}
	log, err := service.NewLogger(r.config, cmd.ErrOrStderr())
	if err != nil {
		return usageError(err)
	}
	spec, err := r.spec(cmd.InOrStdin(), databases)
	if err != nil {
		return usageError(err)
	}
	dir, err := stateDir(r.data)
	if err != nil {
		return usageError(err)
	}
	out, err := r.attempt(cmd, dir, spec, log)
	for errors.Is(err, broker.ErrDiskLost) {
		// The job went with the disk; the databases remember how far it had got.
		log.Warn("the broker has lost its disk: the replication is submitted again")
		out, err = r.attempt(cmd, dir, spec, log)
	}
	if out != nil {
		out.summary()
	}
	return err
}

// attempt submits the replication and shows how it goes, for as long as the broker keeps it.
func (r *replicateFlags) attempt(cmd *cobra.Command, dir string, spec *replication.Spec, log *slog.Logger) (*board, error) {
	o := r.node(dir, spec, log)
	client, stop, err := r.start(cmd.Context(), o)
	if err != nil {
		return nil, failedError(err)
	}
	out, err := r.replicate(cmd, client, spec, o.DataDir)
	if serr := stop(); err == nil && serr != nil {
		err = failedError(serr)
	}
	return out, err
}

// start starts the pipeline in this process, or, where a broker is named, connects to
// the one whose services are there.
func (r *replicateFlags) start(ctx context.Context, o node.Options) (*node.Client, func() error, error) {
	if r.config.NATS != "" {
		client, err := node.Connect(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		return client, client.Close, nil
	}
	n, err := node.Start(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	return n.Client, n.Stop, nil
}

// impatient is the wait after crashes while somebody is watching: seconds, where
// CouchDB's scheduler has minutes.
func impatient(crashes int) time.Duration {
	return min(500*time.Millisecond<<min(crashes, 10), 30*time.Second)
}

// replicate runs the jobs to their end and returns what is to be summed up.
func (r *replicateFlags) replicate(cmd *cobra.Command, n *node.Client, spec *replication.Spec, dataDir string) (*board, error) {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	w, err := watch(ctx, n)
	if err != nil {
		return nil, failedError(err)
	}
	defer w.stop()
	jobs, err := n.Registry().SubmitAll(ctx, spec)
	if err != nil {
		return nil, usageOrFailed(err)
	}
	if r.config.NATS == "" {
		if err := list(dataDir, jobs); err != nil {
			return nil, failedError(fmt.Errorf("note the jobs in the data directory: %w", err))
		}
	}
	out := newBoard(cmd, r.json, r.quiet, jobs)
	specs := map[*course]replication.Job{}
	for i, spec := range spec.Jobs() {
		specs[out.courses[i]] = spec
		out.courses[i].out.failures = r.failuresCommand(jobs[i])
	}
	w.changed = func(ctx context.Context, c *course, over *millracev1.Job) (*millracev1.Job, error) {
		job, err := r.startOver(ctx, n, dataDir, specs[c], over)
		if job != nil {
			c.out.failures = r.failuresCommand(job)
		}
		return job, err
	}
	err = w.follow(ctx, out, r.retries)
	if err == nil {
		err = out.verdict()
	}
	for _, c := range out.courses {
		if rerr := r.result(ctx, n, c.out, c.submitted.Id); rerr != nil {
			return out, rerr
		}
	}
	if r.config.NATS != "" && cmd.Context().Err() != nil {
		err = errors.Join(err, r.cancel(cmd.Context(), n, out.courses))
	}
	return out, err
}

// result finds what CouchDB's replicator would say at the end, if it is the end: also of a target that had
// come to it when the others were interrupted.
func (r *replicateFlags) result(ctx context.Context, n *node.Client, out *display, id string) error {
	if !out.finished {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	job, _, err := n.Jobs().Read(ctx, id)
	if err != nil {
		return failedError(err)
	}
	p, err := n.Jobs().Progress(ctx, id)
	if err != nil {
		return failedError(err)
	}
	out.result, err = replicator.Result(job, p)
	if err != nil {
		return failedError(err)
	}
	return nil
}

// failuresCommand is the command that lists what the job could not write.
func (r *replicateFlags) failuresCommand(job *millracev1.Job) string {
	command := "millrace failures "
	switch {
	case r.config.NATS != "" && r.config.NATS != os.Getenv("MILLRACE_NATS"):
		command += "--nats " + telemetry.Redact(r.config.NATS) + " "
	case r.config.NATS == "" && r.data != "":
		command += "--data " + r.data + " "
	}
	return command + job.ReplicationId
}

// cancel removes the jobs from a pipeline that goes on without this command.
func (r *replicateFlags) cancel(ctx context.Context, n *node.Client, courses []*course) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, c := range courses {
		err = errors.Join(err, n.Registry().Cancel(ctx, c.submitted.Id))
	}
	return err
}

func usageOrFailed(err error) error {
	var field *replication.FieldError
	var unsupported *replicator.UnsupportedError
	if errors.As(err, &field) || errors.As(err, &unsupported) {
		return usageError(err)
	}
	if errors.Is(err, context.Canceled) {
		return &exitError{code: exitInterrupted}
	}
	return failedError(err)
}

func isTerminal(w io.Writer) bool {
	f, isFile := w.(*os.File)
	if !isFile {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
