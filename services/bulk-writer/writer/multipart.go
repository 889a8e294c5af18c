package writer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// uploader is what of a couch.DB a document with attachments needs.
type uploader interface {
	PutMultipart(ctx context.Context, id string, doc []byte, atts []couch.Upload) error
	PutInline(ctx context.Context, id string, doc []byte, atts []couch.Upload) error
}

// put is one of an uploader's ways to write a document with its attachments.
type put func(ctx context.Context, id string, doc []byte, atts []couch.Upload) error

// multipart writes one document with its attachments in their stored encoding, or
// plain where plainOnly says that it must be.
func (a *apply) multipart(ctx context.Context, db uploader, plainOnly func() (bool, error), bodies *bodyReader, m *millracev1.MultipartDoc) error {
	docs, err := bodies.documents(ctx, m.Doc)
	if err != nil {
		return err
	}
	if len(docs) != 1 {
		return fmt.Errorf("body %d: %d documents where one with attachments was expected", m.Doc.Sequence, len(docs))
	}
	uploads := make([]couch.Upload, len(m.Attachments))
	for i, att := range m.Attachments {
		uploads[i] = couch.Upload{
			Name: att.Name, ContentType: att.ContentType, Encoding: att.Encoding, Length: int64(att.Length),
			Open: func() (io.ReadCloser, error) { return bodies.content(ctx, att), nil },
		}
	}
	plain, err := plainOnly()
	if err != nil {
		return err
	}
	if plain {
		return a.plain(ctx, db, docs[0], uploads)
	}
	return a.put(ctx, db.PutMultipart, docs[0], uploads)
}

// put writes a document with its attachments in one request.
func (a *apply) put(ctx context.Context, way put, d document, uploads []couch.Upload) error {
	err := way(ctx, d.ref.Id, d.bytes, uploads)
	var answer *couch.HTTPError
	switch {
	case err == nil:
		a.wrote(d, size(uploads))
		return nil
	case !errors.As(err, &answer):
		return err
	case couch.Classify(err) != couch.PerDocument && couch.Suspects(err):
		a.suspect(d, answer, func(ctx context.Context, a *apply) error { return a.putAgain(ctx, way, d, uploads) })
		return nil
	case couch.Classify(err) != couch.PerDocument:
		return err
	case answer.Status == http.StatusPreconditionFailed && d.ref.Stubs:
		return errMissingStub
	}
	a.reject(d, answer)
	return nil
}

// putAgain is a trial of a document at which the server has failed (see [apply.try]).
func (a *apply) putAgain(ctx context.Context, way put, d document, uploads []couch.Upload) error {
	err := way(ctx, d.ref.Id, d.bytes, uploads)
	var answer *couch.HTTPError
	if errors.As(err, &answer) && answer.Status == http.StatusPreconditionFailed && d.ref.Stubs {
		return errMissingStub
	}
	if err == nil {
		a.wrote(d, size(uploads))
	}
	return err
}
