package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
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
	if err := r.databases(doc, databases); err != nil {
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

// databases puts those of the command line into the document, or what the flags say of them into
// the document's.
func (r *replicateFlags) databases(doc map[string]any, args []string) (err error) {
	source, targets := "", []string(nil)
	if len(args) > 0 {
		source, targets = args[0], args[1:]
		delete(doc, "target")
		delete(doc, "targets")
	}
	if there, ok := doc["source"]; ok || source != "" {
		if doc["source"], err = r.endpoint(0, there, source); err != nil {
			return err
		}
	}
	if len(targets) == 1 {
		doc["target"], err = r.endpoint(1, nil, targets[0])
		return err
	}
	if len(targets) > 1 {
		entries := make([]any, len(targets))
		for i, target := range targets {
			if entries[i], err = r.endpoint(1, nil, target); err != nil {
				return err
			}
		}
		doc["targets"] = entries
		return nil
	}
	if there, ok := doc["target"]; ok {
		if doc["target"], err = r.endpoint(1, there, ""); err != nil {
			return err
		}
	}
	return r.listed(doc)
}

// listed puts what the flags say of a target into each of the document's targets.
func (r *replicateFlags) listed(doc map[string]any) (err error) {
	list, ok := doc["targets"].(json.RawMessage)
	var entries []json.RawMessage
	if !ok || json.Unmarshal(list, &entries) != nil {
		return nil // the parser says what is wrong
	}
	changed := make([]any, len(entries))
	for i, entry := range entries {
		if changed[i], err = r.entry(entry); err != nil {
			return err
		}
	}
	doc["targets"] = changed
	return nil
}

// entry is an endpoint, or an object with an endpoint as target.
func (r *replicateFlags) entry(entry json.RawMessage) (any, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(entry, &members) == nil && members["target"] != nil {
		changed, err := r.endpoint(1, members["target"], "")
		if err != nil {
			return nil, err
		}
		if members["target"], err = json.Marshal(changed); err != nil {
			return nil, err
		}
		return members, nil
	}
	return r.endpoint(1, entry, "")
}

// endpoint is the database of the argument, or the document's where that is empty, as the flags of a
// side want it.
func (r *replicateFlags) endpoint(side int, there any, arg string) (map[string]any, error) {
	o, err := r.endpoints[side].object(there, arg, r.netrc, r.config.NATS != "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.ToUpper([]string{"source", "target"}[side]), err)
	}
	return o, nil
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
