package fetcher

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"millrace/pkg/couch"
	"millrace/pkg/pause"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/bodies"
)

// missingRetries is how often a revision that the source does not find is
// asked for again: a shard may not have it yet.
const missingRetries = 2

// fetch is the fetching of one batch.
type fetch struct {
	db     *couch.DB
	packer *packer
	// retryDelay precedes asking again for what was missing; CouchDB's
	// missing_doc_retry_msec, 2 s.
	retryDelay time.Duration
	// full fetches all attachments, whatever the target has.
	full bool
	// known says that all that is wanted is large.
	known bool
	// singly asks for every document alone: use_bulk_get is false, or the source is
	// known to have no _bulk_get.
	singly bool
	// lacksBulkGet is told that the source has no _bulk_get.
	lacksBulkGet func()
	// unmixed asks for documents whose attachments keep their encoding one by one: the source is
	// known to answer _bulk_get with JSON only.
	unmixed bool
	// lacksMixed is told that the source does.
	lacksMixed func()
	// choice is what the job wants of what comes; nil for everything.
	choice *choice
	// sharing is with the other jobs of the feed; nil with none.
	sharing *sharing
	// claim is what is fetched for them as well, at present; nil for nothing.
	claim *bodies.Claim
	// contents keeps those of large attachments.
	contents contents
	// order tells somebody to fetch a document as a part of its own.
	order func(ctx context.Context, w want, part *millracev1.Part) error

	mu    sync.Mutex
	heavy []want // set aside
	// doubts are how the source failed at documents.
	doubts map[revision]error
}

// want is a revision to be fetched.
type want struct {
	id, rev   string
	ancestors []string
	// attachments are those that the document lists, once it was looked at.
	attachments []rawdoc.Attachment
}

func wanted(b *millracev1.MissingBatch) []want {
	var out []want
	for _, d := range b.Docs {
		for _, rev := range d.Revs {
			out = append(out, want{id: d.Id, rev: rev, ancestors: d.PossibleAncestors})
		}
	}
	return out
}

// run fetches all that a batch wants and packs it.
func (f *fetch) run(ctx context.Context, b *millracev1.MissingBatch) error {
	wants, err := f.handedOver(ctx, f.named(wanted(b)), b.Bodies)
	if err != nil {
		return err
	}
	if f.known {
		return f.large(ctx, wants)
	}
	switch {
	case !f.shares(b):
		err = f.runLight(ctx, wants)
	case b.Part != nil:
		err = f.anew(ctx, wants)
	default:
		err = f.together(ctx, wants)
	}
	if err != nil {
		return err
	}
	if err := f.setAsideFetch(ctx); err != nil {
		return err
	}
	if b.Position.GetReplay() != "" {
		f.sayRefused(b.Docs)
	}
	return nil
}

// named rejects what has no name: nothing can be asked for by an empty id. CouchDB's replicator
// passes such rows over, too.
func (f *fetch) named(wants []want) []want {
	return slices.DeleteFunc(wants, func(w want) bool {
		if w.id == "" {
			f.packer.reject(&millracev1.Rejection{
				Rev: w.rev, Status: http.StatusBadRequest, Error: "illegal_docid", Reason: "Document id must not be empty", Attempts: 1,
			})
		}
		return w.id == ""
	})
}

// handedOver packs what somebody has read already, and returns what is left to be fetched. That a filter wants
// it has been decided by whoever read it.
func (f *fetch) handedOver(ctx context.Context, wants []want, bodies []*millracev1.BodyRef) ([]want, error) {
	if len(bodies) == 0 {
		return wants, nil
	}
	wanted := make(map[revision]bool, len(wants))
	for _, w := range wants {
		wanted[revision{w.id, w.rev}] = true
	}
	for _, ref := range bodies {
		if err := f.packer.handOver(ctx, ref, wanted); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(wants, func(w want) bool { return f.packer.has(w.id, w.rev) }), nil
}

// runLight fetches what is wanted and sets aside what is large.
func (f *fetch) runLight(ctx context.Context, wants []want) error {
	if f.singly {
		return f.each(ctx, wants)
	}
	var attached, absent []want
	for attempt := 0; len(wants) > 0; attempt++ {
		a, missing, cut, err := f.bulk(ctx, wants)
		if refused(err) {
			if err := f.refused(ctx, err); err != nil {
				return err
			}
			absent = append(absent, wants...)
			break
		}
		if err != nil {
			return err
		}
		attached = append(attached, a...)
		absent = append(absent, cut...)
		if attempt == missingRetries {
			absent = append(absent, missing...)
			break
		}
		wants = missing
		if len(wants) > 0 {
			if err := f.yield(ctx, wants); err != nil {
				return err
			}
			if err := pause.For(ctx, f.retryDelay); err != nil {
				return err
			}
		}
	}
	if err := f.attachments(ctx, attached); err != nil {
		return err
	}
	return f.each(ctx, absent)
}

// refused reports whether the source answered a _bulk_get with an error of its own. Its
// documents are then asked for one by one, as CouchDB's replicator does: a source may have no
// _bulk_get, or fail at one document of many, and what is wrong with the source
// itself the next request says too. But a source that has had enough is not asked more.
func refused(err error) bool {
	var answer *couch.HTTPError
	return errors.As(err, &answer) && answer.Status != http.StatusTooManyRequests
}

// refused takes notice of a refusal that says that the source has no _bulk_get. A 404 may be
// the database's own.
func (f *fetch) refused(ctx context.Context, err error) error {
	var answer *couch.HTTPError
	if !errors.As(err, &answer) {
		return nil
	}
	switch answer.Status {
	case http.StatusNotFound:
		if err := f.databaseThere(ctx); err != nil {
			return err
		}
		f.lacksBulkGet()
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		f.lacksBulkGet()
	}
	return nil
}

// bulk asks for documents without the content of their attachments. It packs those
// that have none, and returns the others, what the source did not find, or did not
// answer about, and what stands where the answer ends before its end or makes no sense: that is asked
// for one by one, as CouchDB's replicator does. What is wrong with the source itself the
// next request says too.
func (f *fetch) bulk(ctx context.Context, wants []want) (attached, missing, cut []want, err error) {
	results, err := f.db.BulkGet(ctx, requests(wants, false), couch.BulkGetOptions{Revs: true, Latest: true, AttEncodingInfo: true})
	if err != nil {
		return nil, nil, nil, err
	}
	defer results.Close()
	f.packer.count(func(c *millracev1.Counters) { c.BulkGetAttempts += uint64(len(wants)) })
	answered, leaves := 0, f.answers(wants)
	for {
		item, err := results.Next()
		if err == io.EOF {
			leaves.end()
			return attached, append(missing, wants[answered:]...), nil, nil
		}
		if doubtful(err) {
			// The last one may have more leaves.
			return attached, missing, wants[max(answered-1, 0):], nil
		}
		if err != nil {
			return nil, nil, nil, err
		}
		if item.Result >= len(wants) {
			return attached, missing, wants, nil // nonsense
		}
		answered = item.Result + 1
		asked := wants[item.Result]
		if item.Doc == nil {
			leaves.spoil(item.Result)
			missing = append(missing, asked)
			continue
		}
		chosen, err := f.choice.wants(item.Meta, item.Doc)
		if err != nil {
			return nil, nil, nil, err
		}
		leaves.take(item.Result, item.Meta, chosen)
		switch {
		case !chosen:
		case !f.packer.fresh(item.Meta.ID, item.Meta.Rev):
		case len(item.Meta.Attachments) > 0:
			attached = append(attached, want{item.Meta.ID, item.Meta.Rev, asked.ancestors, item.Meta.Attachments})
		default:
			f.packer.count(func(c *millracev1.Counters) { c.BulkGetDocs++ })
			if err := f.packer.add(ctx, item.Meta, item.Doc, false); err != nil {
				return nil, nil, nil, err
			}
		}
	}
}

// requests asks for revisions; with since, attachments that the target has in an
// ancestor are left out.
func requests(wants []want, since bool) []couch.BulkGetRequest {
	out := make([]couch.BulkGetRequest, len(wants))
	for i, w := range wants {
		out[i] = couch.BulkGetRequest{ID: w.id, Rev: w.rev}
		if since {
			out[i].AttsSince = w.ancestors
		}
	}
	return out
}

// inline asks for documents with their attachments inside. What has vanished
// since is asked for singly.
func (f *fetch) inline(ctx context.Context, wants []want) error {
	results, err := f.db.BulkGet(ctx, requests(wants, !f.full), couch.BulkGetOptions{Revs: true, Latest: true, Attachments: true})
	if refused(err) {
		return f.each(ctx, wants)
	}
	if err != nil {
		return err
	}
	defer results.Close()
	var rest []want
	answered := 0
	for {
		item, err := results.Next()
		if err == io.EOF {
			rest = append(rest, wants[answered:]...)
			break
		}
		if doubtful(err) || err == nil && item.Result >= len(wants) { // cut off, or nonsense
			rest = append(rest, wants[answered:]...)
			break
		}
		if err != nil {
			return err
		}
		answered = item.Result + 1
		asked := wants[item.Result]
		switch {
		case item.Doc == nil:
			rest = append(rest, asked)
			continue
		case item.Meta.Rev != asked.rev:
			// A newer leaf since it was looked at: its attachments may not be
			// fit to travel inline.
			rest = append(rest, want{item.Meta.ID, item.Meta.Rev, asked.ancestors, item.Meta.Attachments})
			continue
		}
		f.packer.count(func(c *millracev1.Counters) { c.BulkGetDocs++ })
		if err := f.packer.add(ctx, item.Meta, item.Doc, hasStubs(item.Meta)); err != nil {
			return err
		}
	}
	return f.each(ctx, rest)
}

func hasStubs(m rawdoc.Meta) bool {
	for _, a := range m.Attachments {
		if a.Stub {
			return true
		}
	}
	return false
}
