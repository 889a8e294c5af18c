package replicator

import (
	"millrace/pkg/checkpoint"
	millracev1 "millrace/proto/millrace/v1"
)

// Result is what CouchDB's POST /_replicate would answer about a one-shot job that is
// complete, given the job's last progress.
func Result(job *millracev1.Job, p *millracev1.Progress) (checkpoint.Result, error) {
	r := checkpoint.Result{
		// Every row has a revision, and only rows that the job wants are counted.
		Changes:        p.GetCounters().GetMissingChecked() > 0,
		UseCheckpoints: job.GetTuning().GetUseCheckpoints(),
	}
	if len(p.GetLog()) == 0 {
		return r, nil
	}
	log, err := checkpoint.Parse(p.Log)
	if err != nil {
		return r, err
	}
	if r.Log = log; !r.Changes {
		r.Log = log.Before(p.SessionId, job.GetFilter().GetByDocIds())
	}
	return r, nil
}
