package replicator

import (
	"context"
	"time"

	"millrace/pkg/control"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

// fetchPatience is how long a filter function is asked for, at a source that does not
// answer or a site where no service runs: as long as CouchDB's worker for a document of _replicator has
// (couch_replicator_doc_processor_worker, 61 s).
//
// There can be no job without it: its id is made of the code, and its key, lease and checkpoints are named by the
// id. Whoever keeps replication documents submits them again when the error is [control.ErrFilter], as CouchDB does
// with the state error.
const fetchPatience = 61 * time.Second

// filterCode reads the replication's filter function from its source; "" where it has none of its
// own. Errors of the source are [control.ErrFilter].
func (r *Registry) filterCode(ctx context.Context, spec replication.Job, source *millracev1.EndpointRef) (string, error) {
	designDoc, name, ok := spec.FilterDesignDoc()
	if !ok {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	reply, err := r.control.Do(ctx, control.Source, siteOf(spec.Source), &millracev1.DatabaseRequest{
		Endpoint: source,
		Request: &millracev1.DatabaseRequest_GetFilter_{
			GetFilter: &millracev1.DatabaseRequest_GetFilter{DesignDoc: designDoc, Name: name},
		},
	})
	if err != nil {
		return "", err
	}
	return reply.Code, nil
}
