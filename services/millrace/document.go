package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"millrace/pkg/couch"
	"millrace/pkg/replication"
)

// documentFlags are CouchDB's options of a replication, under the names of the
// document's fields.
type documentFlags struct {
	continuous, createTarget, winningRevsOnly bool
	createTargetParams                        map[string]string
	docIDs                                    []string
	docIDsFile, sinceSeq                      string
	noCheckpoints, noBulkGet                  bool
	batchSize, httpConnections, retries       int
	checkpointInterval, connectionTimeout     time.Duration
}

func (d *documentFlags) add(f *pflag.FlagSet) {
	t := replication.DefaultTuning()
	f.BoolVarP(&d.continuous, "continuous", "c", false, "go on with what changes, until interrupted")
	f.BoolVar(&d.createTarget, "create-target", false, "create the target database if it is not there")
	f.StringToStringVar(&d.createTargetParams, "create-target-params", nil, "parameters for creating it (q=2,n=1,partitioned=true)")
	f.StringSliceVar(&d.docIDs, "doc-ids", nil, "replicate these documents only")
	f.StringVar(&d.docIDsFile, "doc-ids-file", "", "replicate the documents named in this file only, one a line")
	f.StringVar(&d.sinceSeq, "since-seq", "", "start here where there is no checkpoint")
	f.BoolVar(&d.winningRevsOnly, "winning-revs-only", false, "replicate winning revisions only, no conflicts")
	f.BoolVar(&d.noCheckpoints, "no-checkpoints", false, "write no checkpoints to the databases")
	f.BoolVar(&d.noBulkGet, "no-bulk-get", false, "read documents one by one")
	f.IntVar(&d.batchSize, "batch-size", t.WorkerBatchSize, "changes in a batch")
	f.IntVar(&d.httpConnections, "http-connections", t.HTTPConnections, "connections to each server at most")
	f.IntVar(&d.retries, "retries-per-request", t.RetriesPerRequest, "retries of a request that may succeed the next time")
	f.DurationVar(&d.checkpointInterval, "checkpoint-interval", 5*time.Second, "time between checkpoints")
	f.DurationVar(&d.connectionTimeout, "connection-timeout", t.ConnectionTimeout, "how long a connection may be silent")
}

// document is the replication document that the flags stand for.
func (d *documentFlags) document(source, target couch.Endpoint) (map[string]any, error) {
	doc := map[string]any{
		"source": endpointObject(source), "target": endpointObject(target),
		"worker_batch_size": d.batchSize, "http_connections": d.httpConnections,
		"retries_per_request": d.retries,
		"checkpoint_interval": d.checkpointInterval.Milliseconds(),
		"connection_timeout":  d.connectionTimeout.Milliseconds(),
	}
	for field, set := range map[string]bool{
		"continuous": d.continuous, "create_target": d.createTarget, "winning_revs_only": d.winningRevsOnly,
	} {
		if set {
			doc[field] = true
		}
	}
	if d.noCheckpoints {
		doc["use_checkpoints"] = false
	}
	if d.noBulkGet {
		doc["use_bulk_get"] = false
	}
	if len(d.createTargetParams) > 0 {
		doc["create_target_params"] = d.createTargetParams
	}
	if d.sinceSeq != "" {
		doc["since_seq"] = sinceSeq(d.sinceSeq)
	}
	ids, err := d.ids()
	if err != nil {
		return nil, err
	}
	if ids != nil {
		doc["doc_ids"] = quoted(ids)
	}
	return doc, nil
}

// quoted are ids as a document has them, in which CouchDB decodes percent escapes, and
// a plus sign to a space. On the command line an id is what it is.
func quoted(ids []string) []string {
	escape := strings.NewReplacer("%", "%25", "+", "%2B")
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = escape.Replace(id)
	}
	return out
}

// sinceSeq is a number where the server counts with numbers, as PouchDB does.
func sinceSeq(given string) any {
	if json.Valid([]byte(given)) && strings.Trim(given, "0123456789") == "" {
		return json.RawMessage(given)
	}
	return given
}

func (d *documentFlags) ids() ([]string, error) {
	if d.docIDsFile == "" {
		return d.docIDs, nil
	}
	f, err := os.Open(d.docIDsFile)
	if err != nil {
		return nil, fmt.Errorf("--doc-ids-file: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	ids := append([]string{}, d.docIDs...)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if id := lines.Text(); id != "" {
			ids = append(ids, id)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--doc-ids-file: %w", err)
	}
	return ids, nil
}

func endpointObject(e couch.Endpoint) map[string]any {
	out := map[string]any{"url": e.URL}
	if e.Username != "" {
		out["auth"] = map[string]any{"basic": map[string]any{"username": e.Username, "password": e.Password}}
	}
	return out
}
