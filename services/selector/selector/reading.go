package selector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/couch"
	"millrace/pkg/mango"
	"millrace/pkg/pause"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
)

const (
	// pieceBytes is how many bytes of documents are looked at together, and how many a batch keeps in
	// memory (invariant 5).
	pieceBytes = 8 << 20
	// missingRetries is how often what the source does not find is asked for again: a shard may not have it
	// yet. CouchDB's replicator waits missing_doc_retry_msec, 2 s.
	missingRetries = 1
	missingDelay   = 2 * time.Second
)

// leaf is one leaf revision as the source gave it.
type leaf struct {
	meta rawdoc.Meta
	doc  []byte
	// ref is where it stands in BODIES; nil if it does not.
	ref *bodyRef
	// seen is the document as selectors see it, once one has looked.
	seen *mango.Document
}

// decoded is the document as selectors see it. Whoever decides on the leaf has it alone.
func (l *leaf) decoded() (mango.Document, error) {
	if l.seen == nil {
		doc, err := mango.Decode(l.doc)
		if err != nil {
			return doc, fmt.Errorf("document %q: %w", l.meta.ID, err)
		}
		l.seen = &doc
	}
	return *l.seen, nil
}

// requestRevs is how many leaves are asked for in a request, and requestsAtOnce how many requests a batch
// makes at once.
const (
	requestRevs    = 1000
	requestsAtOnce = 2
)

// reading reads the leaves of a batch's rows, as the doc-fetcher reads them: a document may have been
// edited since, and what is read is what is delivered (invariant 8).
type reading struct {
	db   *couch.DB
	take func(context.Context, []*leaf) error

	mu   sync.Mutex // guards what follows, and is held while a piece is taken
	seen map[revision]bool
	open []*leaf
	size int
}

type revision struct{ id, rev string }

// read hands the leaves of all rows to take, in pieces.
func read(ctx context.Context, db *couch.DB, rows []*millracev1.Row, take func(context.Context, []*leaf) error) error {
	r := &reading{db: db, seen: map[revision]bool{}, take: take}
	var wants []couch.BulkGetRequest
	for _, row := range rows {
		if row.Id == "" {
			continue // it cannot be asked for; no filter chooses it
		}
		for _, rev := range row.Revs {
			wants = append(wants, couch.BulkGetRequest{ID: row.Id, Rev: rev})
		}
	}
	var group errgroup.Group
	group.SetLimit(requestsAtOnce)
	for some := range slices.Chunk(wants, requestRevs) {
		group.Go(func() error { return r.all(ctx, some) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flush(ctx)
}

// all asks for leaves until each is there, or known not to be.
func (r *reading) all(ctx context.Context, wants []couch.BulkGetRequest) error {
	for attempt := 0; ; attempt++ {
		missing, err := r.bulk(ctx, wants)
		if err != nil || len(missing) == 0 {
			return err
		}
		wants = missing
		if attempt == missingRetries {
			return r.singly(ctx, wants)
		}
		if err := pause.For(ctx, missingDelay); err != nil {
			return err
		}
	}
}

// bulk asks for all in one request, and returns what the source did not find or did not answer.
func (r *reading) bulk(ctx context.Context, wants []couch.BulkGetRequest) (missing []couch.BulkGetRequest, err error) {
	results, err := r.db.BulkGet(ctx, wants, couch.BulkGetOptions{Revs: true, Latest: true, AttEncodingInfo: true})
	var answer *couch.HTTPError
	if errors.As(err, &answer) && answer.Status != http.StatusTooManyRequests {
		// It has no _bulk_get, or fails at one document of many: what is wrong with the source itself the
		// next request says too.
		return nil, r.singly(ctx, wants)
	}
	if err != nil {
		return nil, err
	}
	defer results.Close() //nolint:errcheck // nothing is written
	answered := 0
	for {
		item, err := results.Next()
		if err == io.EOF {
			return append(missing, wants[answered:]...), nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && item.Result >= len(wants) { // cut off, or nonsense
			return missing, r.singly(ctx, wants[max(answered-1, 0):])
		}
		if err != nil {
			return nil, err
		}
		answered = item.Result + 1
		if item.Doc == nil {
			missing = append(missing, wants[item.Result])
			continue
		}
		if err := r.add(ctx, item.Meta, item.Doc); err != nil {
			return nil, err
		}
	}
}

// singly asks for documents one by one. What is not found is nobody's: it was purged, and the source's
// own feed would not list it any more.
func (r *reading) singly(ctx context.Context, wants []couch.BulkGetRequest) error {
	o := couch.OpenRevsOptions{Revs: true, Latest: true, AttEncodingInfo: true}
	for _, w := range wants {
		err := r.db.EachRevision(ctx, w.ID, []string{w.Rev}, o, func(rev *couch.OpenRev) (bool, error) {
			return false, r.add(ctx, rev.Meta, rev.Doc)
		})
		if err != nil {
			return fmt.Errorf("document %q: %w", w.ID, err)
		}
	}
	return nil
}

// add takes a leaf in, once: a source that is asked for an ancestor and its leaf returns the leaf
// twice. The document may be used again by who read it.
func (r *reading) add(ctx context.Context, meta rawdoc.Meta, doc []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := revision{meta.ID, meta.Rev}
	if r.seen[key] {
		return nil
	}
	r.seen[key] = true
	r.open = append(r.open, &leaf{meta: meta, doc: append([]byte(nil), doc...)})
	if r.size += len(doc); r.size >= pieceBytes {
		return r.flush(ctx)
	}
	return nil
}

// flush hands over what was read. The reading is locked.
func (r *reading) flush(ctx context.Context) error {
	if len(r.open) == 0 {
		return nil
	}
	piece := r.open
	r.open, r.size = nil, 0
	return r.take(ctx, piece)
}
