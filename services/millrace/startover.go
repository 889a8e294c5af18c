package main

import (
	"context"
	"fmt"
	"strings"

	"millrace/pkg/replication"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/millrace/node"
)

// filterChanged reports whether a job is over because its filter function is not the one any more of which
// its id was made.
func filterChanged(job *millracev1.Job) bool {
	switch replication.State(job.State) {
	case replication.Failed, replication.Crashing:
		return strings.Contains(job.Reason, stage.ErrFilterChanged.Error()+":")
	}
	return false
}

// startOver submits a replication whose filter function has changed once more, as CouchDB's replicator
// does: under the id that the new function makes, and from the beginning, since no checkpoint has that
// id. Where the function is what it was by now, it is the same job.
func (r *replicateFlags) startOver(ctx context.Context, n *node.Client, dataDir string, spec replication.Job, over *millracev1.Job) (*millracev1.Job, error) {
	job, err := n.Registry().Submit(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("the filter function has changed: %w", err)
	}
	if job.Id == over.Id {
		return job, nil
	}
	if over.State == string(replication.Crashing) {
		// It would go on trying. One that has failed is left, with the record of what it could not write.
		if err := n.Registry().Cancel(ctx, over.Id); err != nil {
			return nil, err
		}
	}
	if r.config.NATS == "" {
		if err := list(dataDir, []*millracev1.Job{job}); err != nil {
			return nil, fmt.Errorf("note the job in the data directory: %w", err)
		}
	}
	return job, nil
}

// replace makes a course that of another job.
func (b *board) replace(c *course, job *millracev1.Job) {
	delete(b.byID, c.submitted.Id)
	b.byID[job.Id] = c
	c.submitted, c.crashes, c.over, c.err = job, job.ErrorCount, false, nil
	c.out.replaced(job)
}

// replaced says that what is shown from now on is another job.
func (d *display) replaced(job *millracev1.Job) {
	d.last, d.rate = &millracev1.Status{Total: -1}, rate{}
	d.state, d.reason, d.totals, d.replication = "", "", nil, job.ReplicationId
	text := "the filter function has changed: the replication starts over as " + job.ReplicationId
	switch {
	case d.json, d.quiet:
		d.notes = append(d.notes, text)
	case d.board != nil:
		d.board.tell(d.target, text)
	default:
		d.clear()
		fmt.Fprintln(d.err, text)
	}
}
