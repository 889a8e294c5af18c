package failures

import (
	"errors"

	"millrace/pkg/couch"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

// Failed says that a batch of a replay came to nothing because of err.
func Failed(pos *millracev1.Position, docs []*millracev1.MissingDoc, err error) *millracev1.Replayed {
	status, word := int32(0), "error"
	var answer *couch.HTTPError
	if errors.As(err, &answer) {
		status, word = int32(answer.Status), answer.Err
	}
	out := &millracev1.Replayed{Position: pos}
	for _, d := range docs {
		for _, rev := range d.Revs {
			out.Docs = append(out.Docs, &millracev1.ReplayedDoc{
				Id: d.Id, Rev: rev, Outcome: millracev1.ReplayedDoc_OUTCOME_FAILED,
				Status: status, Error: word, Reason: clip(telemetry.Redact(err.Error())),
			})
		}
	}
	return out
}
