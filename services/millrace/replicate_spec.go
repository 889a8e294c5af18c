package main

import (
	"cmp"
	"encoding/json"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"millrace/pkg/credential"
	"millrace/pkg/replication"
	"millrace/services/millrace/node"
	"millrace/services/replicator/replicator"
)

// spec makes a replication of the command line, by way of CouchDB's document, so that
// the command accepts what a document does and refuses it with the same words. Of
// databases there are two or more, or none when the document has them.
func (r *replicateFlags) spec(stdin io.Reader, databases []string) (*replication.Spec, error) {
	doc, err := r.document.document(stdin)
	if err != nil {
		return nil, err
	}
	if err := r.databases(doc, databases, r.config.NATS != ""); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	spec, err := replication.ParseSpec(encoded)
	if err != nil {
		return nil, err
	}
	// What else a document says is for a server that keeps documents.
	switch {
	case spec.Cancel:
		return nil, &replicator.UnsupportedError{Field: "cancel"}
	case spec.Paused:
		return nil, &replicator.UnsupportedError{Field: "paused"}
	}
	return spec, nil
}

// node says what the pipeline runs on: a broker of its own per replication, so that
// two of them run side by side.
func (r *replicateFlags) node(dir string, spec *replication.Spec, log *slog.Logger) node.Options {
	config := r.config
	// Of a broker of its own, the only jobs are those of whoever runs the command.
	config.AnySecret, config.SecretNetrc = config.NATS == "", cmp.Or(config.SecretNetrc, r.netrc, credential.NetrcFile())
	jobs := spec.Jobs()
	return node.Options{
		Config:  config,
		DataDir: filepath.Join(replicateDir(dir), replicator.PairID(jobs)),
		Only:    jobs,
		PerJob:  min(spec.WorkerProcesses, replicator.MaxWorkers),
		UUID:    r.uuid, UUIDFile: filepath.Join(dir, "uuid"),
		Log: log,
		Replicator: replicator.Options{
			FailPermanent: true, Backoff: impatient, StallInterval: r.stallInterval, LeaseTTL: 5 * time.Second,
		},
	}
}
