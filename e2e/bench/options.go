package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"millrace/e2e/bench/internal/corpus"
	"millrace/e2e/bench/internal/row"
)

// options are the command line.
type options struct {
	source, target string
	rows           []string
	runs           int
	docs, size     int
	changes        int
	seed           uint64
	batch          int
	inFlight       int
	millrace       string
	millraceArgs   []string
	json           bool

	attachments, attachmentSize int
	large                       int
	rtt                         time.Duration
	farInFlight                 int
	ownerDocs, ownTargets       int
}

const usageHead = `usage: bench -source URL -target URL [flags]

Measures replication from a database of one CouchDB-protocol server to a
database of another, and prints a table of medians, extremes and ratios.
Each row is measured for
  bare               the limit: what the two servers need to hand out and take in
                     the same data from a client that does nothing else
  own replicator     the source's own, where it has one
  millrace           the program, where it has been built
  millrace services  in rows with a distance only: its services, on their sides
taking turns (A B C A B C), so that drift of the machine hits all alike, with
fresh databases each time, which are removed afterwards (their names begin with
millrace_bench_). Nothing passes or fails: the exit status tells only whether
measuring was possible.

Server CPU time is read from /proc where both servers are processes of this
machine; as root, if they belong to another user. The figures mean something
only on a machine that does nothing else: "machine CPU" should hardly exceed
"servers CPU" plus "client CPU".

rows:
`

// parseOptions reads the command line. What is wrong with it, or the help that
// was asked for, goes to out.
func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() { help(flags, out) }
	flags.StringVar(&o.source, "source", "", "`URL` of the source's server, with user and password")
	flags.StringVar(&o.target, "target", "", "`URL` of the target's server, with user and password")
	rows := flags.String("rows", strings.Join(rowNames(), ","), "which rows to measure, by `name`, separated by commas")
	flags.IntVar(&o.runs, "runs", 3, "how often each is measured")
	flags.IntVar(&o.docs, "docs", 50000, "documents of an initial load")
	flags.IntVar(&o.size, "size", 1000, fmt.Sprintf("bytes of a document, at least %d", corpus.MinSize))
	flags.IntVar(&o.changes, "changes", 300, "single changes whose latency is measured, at least 200 for a p99")
	flags.Uint64Var(&o.seed, "seed", 1, "of the documents: the same seed, the same bytes")
	flags.IntVar(&o.batch, "batch", 1000, "documents in a request of the bare limit")
	flags.IntVar(&o.inFlight, "in-flight", 4, "requests of the bare limit at a time, on each side")
	flags.IntVar(&o.attachments, "attachments", 2000, "documents with a small attachment")
	flags.IntVar(&o.attachmentSize, "attachment-size", 10000, "bytes of a small attachment")
	flags.IntVar(&o.large, "large", 200_000_000, "bytes of the large attachment")
	flags.DurationVar(&o.rtt, "rtt", 100*time.Millisecond, "round trip between the two sides in the rows with a distance")
	flags.IntVar(&o.farInFlight, "far-in-flight", 16, "requests of the bare limit at a time to a target that is far")
	flags.IntVar(&o.ownerDocs, "owner-docs", 50, "documents of an owner, in the rows with selectors: there are no more targets than owners")
	flags.IntVar(&o.ownTargets, "own-targets", 20, "how many targets at once the source's own replicator is given at most; 200 take it minutes")
	flags.StringVar(&o.millrace, "millrace", "../bin/millrace", "`path` of the millrace program")
	extra := flags.String("millrace-args", "", "further `arguments` for millrace replicate, separated by spaces")
	flags.BoolVar(&o.json, "json", false, "print JSON with every single value instead of the table")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	o.rows = strings.Split(*rows, ",")
	o.millraceArgs = strings.Fields(*extra)
	return o, o.check()
}

// check refuses what cannot be measured.
func (o *options) check() error {
	if o.source == "" || o.target == "" {
		return fmt.Errorf("-source and -target are needed; -h explains")
	}
	for _, name := range o.rows {
		if !slices.Contains(rowNames(), name) {
			return fmt.Errorf("-rows: no row %q; there are %s", name, strings.Join(rowNames(), ", "))
		}
	}
	for _, limit := range []struct {
		flag      string
		value, at int
	}{
		{"runs", o.runs, 1}, {"docs", o.docs, 1}, {"size", o.size, corpus.MinSize},
		{"changes", o.changes, 1}, {"batch", o.batch, 1}, {"in-flight", o.inFlight, 1},
		{"attachments", o.attachments, 1}, {"attachment-size", o.attachmentSize, 1}, {"large", o.large, 1}, {"far-in-flight", o.farInFlight, 1},
		{"owner-docs", o.ownerDocs, 1}, {"own-targets", o.ownTargets, 0},
	} {
		if limit.value < limit.at {
			return fmt.Errorf("-%s: %d is less than %d", limit.flag, limit.value, limit.at)
		}
	}
	if o.rtt < 0 {
		return fmt.Errorf("-rtt: %v is negative", o.rtt)
	}
	return nil
}

// wants reports whether a row was asked for.
func (o *options) wants(name string) bool {
	return slices.Contains(o.rows, name)
}

// setting returns what the figures depend on, for the report.
func (o *options) setting() map[string]string {
	return map[string]string{
		"runs": fmt.Sprint(o.runs), "docs": fmt.Sprint(o.docs), "size": fmt.Sprint(o.size),
		"changes": fmt.Sprint(o.changes), "seed": fmt.Sprint(o.seed),
		"batch": fmt.Sprint(o.batch), "in-flight": fmt.Sprint(o.inFlight),
		"attachments": fmt.Sprint(o.attachments), "attachment-size": fmt.Sprint(o.attachmentSize), "large": fmt.Sprint(o.large),
		"owner-docs": fmt.Sprint(o.ownerDocs), "own-targets": fmt.Sprint(o.ownTargets),
		"rtt": o.rtt.String(), "far-in-flight": fmt.Sprint(o.farInFlight),
		"millrace-args": strings.Join(o.millraceArgs, " "),
	}
}

// help explains the program, its rows and its flags.
func help(flags *flag.FlagSet, out io.Writer) {
	fmt.Fprint(out, usageHead)
	for _, r := range row.All(&row.Setting{}) {
		fmt.Fprintf(out, "  %-15s %s\n", r.Name(), r.Doc())
	}
	fmt.Fprintln(out, "\nflags:")
	flags.PrintDefaults()
}

// rowNames returns the names of all rows.
func rowNames() []string {
	var names []string
	for _, r := range row.All(&row.Setting{}) {
		names = append(names, r.Name())
	}
	return names
}
