package writer

import (
	"context"
	"errors"
	"time"

	"millrace/pkg/couch"
	"millrace/pkg/pause"
)

const (
	// trials is how often a document is tried alone at which the server fails, before it is
	// rejected.
	trials = 3
	// trialDelay precedes each trial but the first, for the first time; it doubles.
	trialDelay = time.Second
)

// suspect is a document at which the server failed when it was written alone.
type suspect struct {
	document
	failure *couch.HTTPError
	// again writes it once more, and has it counted if it is written.
	again func(ctx context.Context, a *apply) error
}

func (a *apply) suspect(d document, failure *couch.HTTPError, again func(context.Context, *apply) error) {
	a.suspects = append(a.suspects, suspect{d, failure, again})
}

// attempt writes one document.
func (a *apply) attempt(ctx context.Context, d document) error {
	results, err := a.db.BulkDocs(ctx, [][]byte{d.bytes}, couch.BulkDocsOptions{Once: true})
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != "" {
			return r.Failure()
		}
	}
	a.wrote(d, 0)
	return nil
}

// try tries the documents at which the server failed, when all others are written. One that fails
// each time, while the server takes another one in the same shard before, in between and after,
// is rejected: the server fails at this document. As long as the server takes no other one
// either nothing is known of the document, and the run has to wait for the server: the error
// says so. So nothing good is rejected while a server is merely ill, and nothing that no server will
// ever take stops a job.
func (a *apply) try(ctx context.Context) error {
	delay := trialDelay
	for trial := range trials {
		if len(a.suspects) == 0 {
			return nil
		}
		if trial > 0 {
			if err := pause.For(ctx, delay); err != nil {
				return err
			}
			delay *= 2
		}
		var left []suspect
		for _, s := range a.suspects {
			if err := a.db.WriteBeside(ctx, s.ref.Id); err != nil {
				return errors.Join(s.failure, err)
			}
			failure, err := a.retry(ctx, s)
			if err != nil {
				return err
			}
			if failure != nil {
				s.failure = failure
				left = append(left, s)
			}
		}
		a.suspects = left
	}
	for _, s := range a.suspects {
		if err := a.db.WriteBeside(ctx, s.ref.Id); err != nil {
			return errors.Join(s.failure, err)
		}
		a.reject(s.document, s.failure)
		a.rejected[len(a.rejected)-1].Attempts = trials + 1
	}
	a.suspects = nil
	return nil
}

// retry writes a suspect once more. It returns the failure if the server fails as before, and an
// error if nothing can be said of the document.
func (a *apply) retry(ctx context.Context, s suspect) (*couch.HTTPError, error) {
	err := s.again(ctx, a)
	var answer *couch.HTTPError
	var row *couch.DocError
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &answer) && couch.Classify(err) == couch.PerDocument:
		a.reject(s.document, answer)
		return nil, nil
	case errors.As(err, &answer) && couch.Suspects(err):
		return answer, nil
	case errors.As(err, &row) && couch.Classify(err) == couch.PerDocument:
		a.refuse(s.document, statusOf(row.Err), row.Err, row.Reason)
		return nil, nil
	}
	return nil, err
}
