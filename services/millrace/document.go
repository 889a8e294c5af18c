package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"millrace/pkg/couch"
	"millrace/pkg/ejson"
	"millrace/pkg/replication"
)

// documentFlags are CouchDB's options of a replication, under the names of the
// document's fields, and where to find such a document.
type documentFlags struct {
	flags                                     *pflag.FlagSet
	file                                      string
	continuous, createTarget, winningRevsOnly bool
	createTargetParams                        map[string]string
	docIDs, eachDocID                         []string
	selector, filter                          string
	queryParams                               []string
	skipDeletes                               bool
	docIDsFile, sinceSeq                      string
	noCheckpoints, noBulkGet                  bool
	workers, batchSize                        int
	httpConnections, retries                  int
	checkpointInterval, connectionTimeout     time.Duration
}

// checkpointInterval of the command line: somebody may be watching, who will not wait for
// half a minute twice. A document's is CouchDB's.
const checkpointInterval = 5 * time.Second

func (d *documentFlags) add(f *pflag.FlagSet) {
	t := replication.DefaultTuning()
	d.flags = f
	f.StringVar(&d.file, "document", "", "replicate what this file, CouchDB's replication document, says (- is standard input); flags say otherwise")
	f.BoolVarP(&d.continuous, "continuous", "c", false, "go on with what changes, until interrupted")
	f.BoolVar(&d.createTarget, "create-target", false, "create the target database if it is not there")
	f.StringToStringVar(&d.createTargetParams, "create-target-params", nil, "parameters for creating it (q=2,n=1,partitioned=true)")
	f.StringSliceVar(&d.docIDs, "doc-ids", nil, "replicate these documents only")
	f.StringArrayVar(&d.eachDocID, "doc-id", nil, "replicate this document only; may be repeated")
	f.StringVar(&d.selector, "selector", "", "replicate what this Mango selector (`JSON`) matches only")
	f.StringVar(&d.filter, "filter", "", "replicate what the filter function `designdoc/name` of the source takes only, or _view, or _design")
	f.StringArrayVar(&d.queryParams, "query-param", nil, "parameter for the filter function, `name=value`; may be repeated")
	f.BoolVar(&d.skipDeletes, "skip-deletes", false, "replicate no deletions")
	f.StringVar(&d.docIDsFile, "doc-ids-file", "", "replicate the documents named in this file only, one a line")
	f.StringVar(&d.sinceSeq, "since-seq", "", "start here where there is no checkpoint")
	f.BoolVar(&d.winningRevsOnly, "winning-revs-only", false, "replicate winning revisions only, no conflicts")
	f.BoolVar(&d.noCheckpoints, "no-checkpoints", false, "write no checkpoints to the databases")
	f.BoolVar(&d.noBulkGet, "no-bulk-get", false, "read documents one by one")
	f.IntVar(&d.workers, "workers", t.WorkerProcesses, "batches that each stage works on at once")
	f.IntVar(&d.batchSize, "batch-size", t.WorkerBatchSize, "changes in a batch")
	f.IntVar(&d.httpConnections, "http-connections", t.HTTPConnections, "connections to each server at most")
	f.IntVar(&d.retries, "retries-per-request", t.RetriesPerRequest, "retries of a request that may succeed the next time")
	f.DurationVar(&d.checkpointInterval, "checkpoint-interval", checkpointInterval, "time between checkpoints")
	f.DurationVar(&d.connectionTimeout, "connection-timeout", t.ConnectionTimeout, "how long a connection may be silent")
}

// arguments checks how many there are: a document has all databases.
func (d *documentFlags) arguments(args []string) error {
	if len(args) >= 2 || len(args) == 0 && d.file != "" {
		return nil
	}
	return fmt.Errorf("expected SOURCE and TARGET, got %d arguments", len(args))
}

// document is the replication document of the command line: the file's, if there is one,
// with what the flags that were given say instead.
func (d *documentFlags) document(stdin io.Reader) (map[string]any, error) {
	doc, err := d.read(stdin)
	if err != nil {
		return nil, err
	}
	for flag, option := range map[string]struct {
		field string
		value any
	}{
		"continuous":           {"continuous", d.continuous},
		"create-target":        {"create_target", d.createTarget},
		"create-target-params": {"create_target_params", d.createTargetParams},
		"since-seq":            {"since_seq", sinceSeq(d.sinceSeq)},
		"winning-revs-only":    {"winning_revs_only", d.winningRevsOnly},
		"skip-deletes":         {"skip_deletes", d.skipDeletes},
		"no-checkpoints":       {"use_checkpoints", !d.noCheckpoints},
		"no-bulk-get":          {"use_bulk_get", !d.noBulkGet},
		"workers":              {"worker_processes", d.workers},
		"batch-size":           {"worker_batch_size", d.batchSize},
		"http-connections":     {"http_connections", d.httpConnections},
		"retries-per-request":  {"retries_per_request", d.retries},
		"checkpoint-interval":  {"checkpoint_interval", d.checkpointInterval.Milliseconds()},
		"connection-timeout":   {"connection_timeout", d.connectionTimeout.Milliseconds()},
	} {
		if d.flags.Changed(flag) {
			doc[option.field] = option.value
		}
	}
	chosen, err := d.selection()
	if err != nil {
		return nil, err
	}
	if chosen["doc_ids"] != nil || chosen["selector"] != nil || chosen["filter"] != nil {
		// Two ways to choose contradict each other: the flags' takes the place of the document's.
		for _, field := range []string{"doc_ids", "selector", "filter", "query_params"} {
			delete(doc, field)
		}
	}
	maps.Copy(doc, chosen)
	return doc, nil
}

// read is the document that the flags change. Its fields stay as they are written: the
// order of query_params is part of the replication's id.
func (d *documentFlags) read(stdin io.Reader) (map[string]any, error) {
	var text []byte
	var err error
	switch d.file {
	case "":
		return map[string]any{"checkpoint_interval": checkpointInterval.Milliseconds()}, nil
	case "-":
		text, err = io.ReadAll(stdin)
	default:
		text, err = os.ReadFile(d.file)
	}
	if err != nil {
		return nil, fmt.Errorf("--document: %w", err)
	}
	members, err := ejson.Members(text)
	if err != nil {
		return nil, fmt.Errorf("--document: %w", err)
	}
	doc := make(map[string]any, len(members))
	for _, m := range members {
		doc[m.Name] = json.RawMessage(m.Value)
	}
	return doc, nil
}

// sinceSeq is a number where the server counts with numbers, as PouchDB does.
func sinceSeq(given string) any {
	if json.Valid([]byte(given)) && strings.Trim(given, "0123456789") == "" {
		return json.RawMessage(given)
	}
	return given
}

func endpointObject(e couch.Endpoint) map[string]any {
	out := map[string]any{"url": e.URL}
	if e.Username != "" {
		out["auth"] = map[string]any{"basic": map[string]any{"username": e.Username, "password": e.Password}}
	}
	return out
}
