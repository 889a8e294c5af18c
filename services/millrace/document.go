package main

import (
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"millrace/pkg/couch"
	"millrace/pkg/replication"
)

// documentFlags are CouchDB's options of a replication, under the names of the
// document's fields, and where to find such a document.
type documentFlags struct {
	choiceFlags
	continuous, createTarget              bool
	createTargetParams                    map[string]string
	sinceSeq                              string
	noCheckpoints, noBulkGet              bool
	workers, batchSize                    int
	httpConnections, retries              int
	checkpointInterval, connectionTimeout time.Duration
}

// checkpointInterval of the command line: somebody may be watching, who will not wait for
// half a minute twice. A document's is CouchDB's.
const checkpointInterval = 5 * time.Second

func (d *documentFlags) add(f *pflag.FlagSet) {
	t := replication.DefaultTuning()
	d.choiceFlags.add(f, "replicate")
	f.BoolVarP(&d.continuous, "continuous", "c", false, "go on with what changes, until interrupted")
	f.BoolVar(&d.createTarget, "create-target", false, "create the target database if it is not there")
	f.StringToStringVar(&d.createTargetParams, "create-target-params", nil, "parameters for creating it (q=2,n=1,partitioned=true)")
	f.StringVar(&d.sinceSeq, "since-seq", "", "start here where there is no checkpoint")
	f.BoolVar(&d.noCheckpoints, "no-checkpoints", false, "write no checkpoints to the databases")
	f.BoolVar(&d.noBulkGet, "no-bulk-get", false, "read documents one by one")
	f.IntVar(&d.workers, "workers", t.WorkerProcesses, "batches that each stage works on at once")
	f.IntVar(&d.batchSize, "batch-size", t.WorkerBatchSize, "changes in a batch")
	f.IntVar(&d.httpConnections, "http-connections", t.HTTPConnections, "connections to each server at most")
	f.IntVar(&d.retries, "retries-per-request", t.RetriesPerRequest, "retries of a request that may succeed the next time")
	f.DurationVar(&d.checkpointInterval, "checkpoint-interval", checkpointInterval, "time between checkpoints")
	f.DurationVar(&d.connectionTimeout, "connection-timeout", t.ConnectionTimeout, "how long a connection may be silent")
}

// document is the replication document of the command line: the file's, if there is one,
// with what the flags that were given say instead.
func (d *documentFlags) document(stdin io.Reader) (map[string]any, error) {
	doc, err := d.read(stdin)
	if err != nil {
		return nil, err
	}
	if d.file == "" {
		doc["checkpoint_interval"] = checkpointInterval.Milliseconds()
	}
	for flag, option := range map[string]struct {
		field string
		value any
	}{
		"continuous":           {"continuous", d.continuous},
		"create-target":        {"create_target", d.createTarget},
		"create-target-params": {"create_target_params", d.createTargetParams},
		"since-seq":            {"since_seq", sinceSeq(d.sinceSeq)},
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
	return doc, d.choose(doc)
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
