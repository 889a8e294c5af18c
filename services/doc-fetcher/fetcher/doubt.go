package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"millrace/pkg/couch"
	"millrace/pkg/rawdoc"
	"millrace/pkg/revtree"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

// passes is how often a document is asked for alone at which the source fails.
const passes = 3

// doubtful reports whether the source failed at a request in a way that the document may be the cause
// of: an attachment that is damaged ends an answer in its middle, and a document that CouchDB's own
// code crashes at is a 500.
func doubtful(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || couch.Suspects(err)
}

// doubt notes that the source failed at a document. It is asked for again, as if it was missing.
func (f *fetch) doubt(w want, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.doubts == nil {
		f.doubts = map[revision]error{}
	}
	f.doubts[revision{w.id, w.rev}] = err
}

// doubted is how the source failed at a document the last time; nil if it did not.
func (f *fetch) doubted(w want) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.doubts[revision{w.id, w.rev}]
}

// certain forgets a doubt.
func (f *fetch) certain(w want) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.doubts, revision{w.id, w.rev})
}

// wellBeside says whether the source works, in the shards of the documents at which it failed. As
// long as it does not, nothing is known of them, and the run has to wait for the source.
func (f *fetch) wellBeside(ctx context.Context, wants []want) error {
	for _, w := range wants {
		failure := f.doubted(w)
		if failure == nil {
			continue
		}
		if err := f.db.ReadBeside(ctx, w.id); err != nil {
			return errors.Join(failure, err)
		}
	}
	return nil
}

// conclude rejects what was asked for again and again: where the source failed each time, and did
// not beside it, it fails at the document; the rest has vanished.
func (f *fetch) conclude(ctx context.Context, wants []want) error {
	if err := f.wellBeside(ctx, wants); err != nil {
		return err
	}
	for _, w := range wants {
		if failure := f.doubted(w); failure != nil {
			f.packer.reject(failed(w, failure))
			continue
		}
		if err := f.lastLook(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// failed is the rejection of a document that the source cannot give.
func failed(w want, failure error) *millracev1.Rejection {
	r := &millracev1.Rejection{
		Id: w.id, Rev: w.rev, Error: "answer_cut", Reason: telemetry.Redact(failure.Error()), Attempts: passes,
	}
	var answer *couch.HTTPError
	if errors.As(failure, &answer) {
		r.Status, r.Error, r.Reason = int32(answer.Status), answer.Err, answer.Reason
	}
	return r
}

// lastLook asks for all leaves of a document whose revision was not found, nor a leaf that descends from
// it by what the source knows. A leaf that was edited so often since that its history does not
// reach back to the revision may be one. Otherwise it was purged, or compacted away without a
// leaf: it has vanished, and is recorded so.
func (f *fetch) lastLook(ctx context.Context, w want) error {
	docs, err := f.leaves(ctx, w)
	if err != nil {
		return err
	}
	var others []string
	took := false
	for _, d := range docs {
		descends, err := mayDescend(d, w.rev)
		if err != nil {
			return err
		}
		if !descends {
			others = append(others, d.rev)
			continue
		}
		took = true
		if chosen, err := f.choice.wants(d.meta, d.doc); err != nil {
			return err
		} else if !chosen || !f.packer.fresh(d.id, d.rev) {
			continue
		}
		leaf := want{d.id, d.rev, w.ancestors, d.meta.Attachments}
		if len(leaf.attachments) == 0 {
			err = f.packer.add(ctx, d.meta, d.doc, false)
		} else if tooLarge(d.meta) {
			f.setAside(leaf)
		} else {
			_, err = f.one(ctx, leaf)
		}
		if err != nil {
			return err
		}
	}
	if took {
		return nil
	}
	reason := "missing: the source listed the revision and has it no more: the document was purged"
	if len(others) > 0 {
		reason = fmt.Sprintf("missing: the source listed the revision and has it no more, nor a leaf that descends from it; it has %s", strings.Join(others, ", "))
	}
	f.packer.reject(&millracev1.Rejection{
		Id: w.id, Rev: w.rev, Status: http.StatusNotFound, Error: "not_found", Reason: reason, Attempts: missingRetries + 1,
	})
	return nil
}

// leaves are all leaves of a document, without their attachments.
func (f *fetch) leaves(ctx context.Context, w want) (found []heavyDoc, err error) {
	o := couch.OpenRevsOptions{Revs: true, AttEncodingInfo: true}
	err = f.db.EachRevision(ctx, w.id, nil, o, func(rev *couch.OpenRev) (bool, error) {
		found = append(found, heavyDoc{want: want{id: rev.Meta.ID, rev: rev.Meta.Rev}, doc: rev.Doc, meta: rev.Meta})
		return false, nil
	})
	return found, err
}

// mayDescend reports whether a leaf has the revision in its history, or may have had: a history that
// begins above the revision was cut off at the database's _revs_limit.
func mayDescend(leaf heavyDoc, rev string) (bool, error) {
	history, err := rawdoc.ParseRevisions(leaf.meta.RawRevisions)
	if err != nil {
		return false, err
	}
	asked, err := revtree.Parse(rev)
	if err != nil {
		return false, nil // no leaf descends from what is no revision
	}
	generation, first := int64(asked.Pos), history.Start-int64(len(history.IDs))+1
	if generation < first {
		return true, nil // it is cut off
	}
	above := history.Start - generation
	return above > 0 && history.IDs[above] == asked.Hash, nil
}
