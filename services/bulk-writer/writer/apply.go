package writer

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"millrace/pkg/couch"
	"millrace/pkg/failures"
	millracev1 "millrace/proto/millrace/v1"
)

// rowRetries is how often rows are written again that the server failed at without
// blaming the document.
const rowRetries = 3

// errMissingStub says that the target lacks attachments that documents of the
// request refer to by stub; they have to be fetched in full.
var errMissingStub = errors.New("target lacks attachments of stubs")

// document is one document to be written.
type document struct {
	ref   *millracev1.DocRef
	bytes []byte
}

// database is what of a couch.DB the writer uses.
type database interface {
	BulkDocs(ctx context.Context, docs [][]byte, o couch.BulkDocsOptions) ([]couch.DocResult, error)
	WriteBeside(ctx context.Context, id string) error
}

// apply writes documents to a database, takes refused requests apart and keeps
// what is left of them.
type apply struct {
	db       database
	written  []*millracev1.DocRef
	bytes    uint64
	rejected []rejected
	// suspects are documents at which the server fails.
	suspects []suspect
	// narrowing says that the document is looked for at which the server fails: requests that
	// fail so are not repeated.
	narrowing bool
}

// rejected is a document that was not written.
type rejected struct {
	*millracev1.Rejection
	// doc is the document if it is small, and nil otherwise.
	doc []byte
}

// write writes the documents, one request at first. A refusal that one document
// may be to blame for is narrowed down until the culprits stand alone: one bad
// document never stops a job.
func (a *apply) write(ctx context.Context, docs []document) error {
	refusal, err := a.request(ctx, docs)
	if err != nil || refusal == nil {
		return err
	}
	if len(docs) == 1 {
		a.judged(docs[0], refusal)
		return nil
	}
	if couch.Suspects(refusal) {
		a.narrowing = true
		defer func() { a.narrowing = false }()
	}
	if suspects, rest := suspicious(docs); refusal.Status == http.StatusBadRequest && len(suspects) > 0 && len(rest) > 0 {
		if err := a.singly(ctx, suspects); err != nil {
			return err
		}
		return a.write(ctx, rest)
	}
	return a.halves(ctx, docs, refusal)
}

// halves splits the documents in two. Where both halves are refused for the
// reason for which the whole was, all documents probably share it: they are then
// written one by one, which costs N requests and not 2N.
func (a *apply) halves(ctx context.Context, docs []document, whole *couch.HTTPError) error {
	middle := len(docs) / 2
	left, right := docs[:middle], docs[middle:]
	first, err := a.request(ctx, left)
	if err != nil {
		return err
	}
	second, err := a.request(ctx, right)
	if err != nil {
		return err
	}
	if first != nil && second != nil {
		switch {
		case couch.Suspects(first) && couch.Suspects(second):
			// Two such documents at once are rare: the server may fail at everything.
			if err := a.db.WriteBeside(ctx, docs[0].ref.Id); err != nil {
				return errors.Join(first, err)
			}
		case whole.Status != http.StatusRequestEntityTooLarge && alike(first, whole) && alike(second, whole):
			return a.singly(ctx, docs)
		}
	}
	if err := a.refused(ctx, left, first); err != nil {
		return err
	}
	return a.refused(ctx, right, second)
}

// refused goes on with documents whose request was answered.
func (a *apply) refused(ctx context.Context, docs []document, refusal *couch.HTTPError) error {
	switch {
	case refusal == nil:
		return nil
	case len(docs) == 1:
		a.judged(docs[0], refusal)
		return nil
	default:
		return a.halves(ctx, docs, refusal)
	}
}

func alike(a, b *couch.HTTPError) bool {
	return a.Status == b.Status && a.Err == b.Err && a.Reason == b.Reason
}

func (a *apply) singly(ctx context.Context, docs []document) error {
	for _, d := range docs {
		refusal, err := a.request(ctx, []document{d})
		if err != nil {
			return err
		}
		if refusal != nil {
			a.judged(d, refusal)
		}
	}
	return nil
}

// request writes the documents in one request. It returns the refusal if one
// of them may be to blame for it, and an error if none is.
func (a *apply) request(ctx context.Context, docs []document) (*couch.HTTPError, error) {
	for attempt := 0; ; attempt++ {
		results, err := a.db.BulkDocs(ctx, bodies(docs), couch.BulkDocsOptions{Once: a.narrowing})
		if a.narrowing && err != nil && couch.Classify(err) == couch.Transient && !couch.Suspects(err) {
			results, err = a.db.BulkDocs(ctx, bodies(docs), couch.BulkDocsOptions{})
		}
		if err != nil {
			refusal, err := a.judge(docs, err)
			if refusal != nil && attempt > 0 {
				return nil, a.refused(ctx, docs, refusal) // the caller knows the others only
			}
			return refusal, err
		}
		again, failure := a.rows(docs, results)
		if len(again) == 0 {
			return nil, nil
		}
		if attempt == rowRetries {
			return nil, failure
		}
		docs = again
	}
}

// judge tells a refusal of documents from an error of the request.
func (a *apply) judge(docs []document, err error) (*couch.HTTPError, error) {
	var answer *couch.HTTPError
	if !errors.As(err, &answer) || couch.Classify(err) != couch.PerDocument && !couch.Suspects(err) {
		return nil, err
	}
	if answer.Status == http.StatusPreconditionFailed && anyStubs(docs) {
		return nil, errMissingStub
	}
	return answer, nil
}

// rows takes in the answers for single documents. It returns the documents that
// the server failed at by no fault of theirs.
func (a *apply) rows(docs []document, results []couch.DocResult) (again []document, failure error) {
	failed := map[string][]couch.DocResult{} // by id: several leaves of a document may be in one request
	for _, r := range results {
		if r.Err != "" {
			failed[r.ID] = append(failed[r.ID], r)
		}
	}
	for _, d := range docs {
		r, ok := take(failed, d)
		switch {
		case !ok:
			a.wrote(d, 0)
		case couch.Classify(r.Failure()) == couch.Transient:
			again, failure = append(again, d), r.Failure()
		default:
			a.refuse(d, statusOf(r.Err), r.Err, r.Reason)
		}
	}
	return again, failure
}

// take finds the failure of a document and removes it. A server that does not
// name the revision has failed at the first of the document's leaves.
func take(failed map[string][]couch.DocResult, d document) (couch.DocResult, bool) {
	rows := failed[d.ref.Id]
	for i, r := range rows {
		if r.Rev == "" || r.Rev == d.ref.Rev {
			failed[d.ref.Id] = append(rows[:i:i], rows[i+1:]...)
			return r, true
		}
	}
	return couch.DocResult{}, false
}

// statusOf is the HTTP status that CouchDB would give the row's error alone.
func statusOf(word string) int {
	switch word {
	case "unauthorized":
		return http.StatusUnauthorized
	case "forbidden":
		return http.StatusForbidden
	case "conflict":
		return http.StatusConflict
	case "document_too_large", "attachment_too_large", "request_entity_too_large":
		return http.StatusRequestEntityTooLarge
	case "missing_stub":
		return http.StatusPreconditionFailed
	default:
		return 0
	}
}

// judged keeps a document that was refused alone; one at which the server only failed has to be
// tried.
func (a *apply) judged(d document, refusal *couch.HTTPError) {
	if couch.Suspects(refusal) && couch.Classify(refusal) != couch.PerDocument {
		a.suspect(d, refusal, func(ctx context.Context, a *apply) error { return a.attempt(ctx, d) })
		return
	}
	a.reject(d, refusal)
}

func (a *apply) reject(d document, refusal *couch.HTTPError) {
	a.refuse(d, refusal.Status, refusal.Err, refusal.Reason)
}

// refuse keeps a document that cannot be written, and why. The bytes are a copy: they would hold
// on to the whole message that they came in (invariant 5).
func (a *apply) refuse(d document, status int, word, reason string) {
	r := rejected{Rejection: &millracev1.Rejection{
		Id: d.ref.Id, Rev: d.ref.Rev, Stage: Name, Status: int32(status), Error: word, Reason: reason,
		Attempts: 1, Size: uint64(len(d.bytes)),
	}}
	if len(d.bytes) <= failures.DocumentLimit {
		r.doc = bytes.Clone(d.bytes)
	}
	a.rejected = append(a.rejected, r)
}

// wrote counts a document that is durable at the target, with so many bytes of attachments beside it.
func (a *apply) wrote(d document, beside int64) {
	a.written = append(a.written, d.ref)
	a.bytes += uint64(len(d.bytes)) + uint64(beside)
}

func bodies(docs []document) [][]byte {
	out := make([][]byte, len(docs))
	for i, d := range docs {
		out[i] = d.bytes
	}
	return out
}

func anyStubs(docs []document) bool {
	for _, d := range docs {
		if d.ref.Stubs {
			return true
		}
	}
	return false
}
