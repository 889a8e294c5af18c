package row

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"millrace/e2e/bench/internal/corpus"
	"millrace/e2e/bench/internal/server"
)

// seqInterval is how many rows of _changes share a sequence in the bare limit:
// to compute one for each row doubles the source's cost of a feed.
const seqInterval = 500

// readChanges reads the feed of a source that holds so many documents, and
// discards it.
func readChanges(ctx context.Context, source *server.Database, docs int) error {
	n, err := source.ReadChanges(ctx, seqInterval)
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	// A row has at least an id, and a revision of 32 characters.
	return atLeast("the feed of changes", n, int64(docs)*40)
}

// documents are goods in bulk.
type documents struct {
	corpus *corpus.Corpus
	// attached says that the documents have attachments.
	attached bool
}

func (d *documents) docs() int       { return d.corpus.Docs }
func (d *documents) amount() float64 { return float64(d.corpus.Docs) }

func (d *documents) how() string {
	inline := ""
	if d.attached {
		inline = "&attachments=true"
	}
	return fmt.Sprintf("_bulk_get?revs=true&latest=true%s and _bulk_docs with new_edits=false, %d documents a request", inline, d.corpus.Batches[0].Docs)
}

func (d *documents) read(ctx context.Context, source *server.Database, inFlight int) error {
	ask := source.ReadBulk
	if d.attached {
		ask = source.ReadBulkInline
	}
	return d.each(ctx, inFlight, func(ctx context.Context, batch corpus.Batch) error {
		n, err := ask(ctx, batch.Read)
		if err != nil {
			return fmt.Errorf("read documents: %w", err)
		}
		return atLeast("an answer of _bulk_get", n, batch.Bytes)
	})
}

func (d *documents) write(ctx context.Context, target *server.Database, inFlight int) error {
	return d.each(ctx, inFlight, func(ctx context.Context, batch corpus.Batch) error {
		if err := target.WriteBulk(ctx, batch.Write); err != nil {
			return fmt.Errorf("write documents: %w", err)
		}
		return nil
	})
}

// each does work for every batch, inFlight at a time.
func (d *documents) each(ctx context.Context, inFlight int, work func(context.Context, corpus.Batch) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for _, batch := range d.corpus.Batches {
		group.Go(func() error { return work(ctx, batch) })
	}
	return group.Wait()
}

func (d *documents) arrived(ctx context.Context, source, target *server.Database) error {
	if d.attached {
		return sameDigests(ctx, source, target)
	}
	return complete(ctx, target, d.corpus.Docs)
}

// bulky is a single document with a large attachment.
type bulky struct {
	*corpus.Large
}

func (*bulky) docs() int         { return 1 }
func (b *bulky) amount() float64 { return float64(b.Size) / 1e6 }

func (*bulky) how() string {
	return "a GET of the attachment, and a PUT of the document as multipart/related with new_edits=false"
}

func (b *bulky) read(ctx context.Context, source *server.Database, _ int) error {
	n, err := source.ReadAttachment(ctx, b.ID, corpus.FileName)
	if err != nil {
		return fmt.Errorf("read the attachment: %w", err)
	}
	return atLeast("the attachment", n, int64(b.Size))
}

func (b *bulky) write(ctx context.Context, target *server.Database, _ int) error {
	if err := target.PutRevision(ctx, b.ID, b.ContentType, b.Write); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

func (*bulky) arrived(ctx context.Context, source, target *server.Database) error {
	return sameDigests(ctx, source, target)
}

// atLeast fails if what was thrown away unread cannot have been all of it.
func atLeast(what string, got, want int64) error {
	if got < want {
		return fmt.Errorf("%s has %d bytes, which is less than the %d that were written", what, got, want)
	}
	return nil
}

// complete fails unless the database holds as many documents as it should.
func complete(ctx context.Context, db *server.Database, want int) error {
	got, err := db.Count(ctx)
	if err != nil {
		return fmt.Errorf("count documents: %w", err)
	}
	if got != want {
		return fmt.Errorf("the target holds %d documents instead of %d", got, want)
	}
	return nil
}

// sameDigests fails unless both databases hold the same revisions and attachments,
// by the digests of what is stored.
func sameDigests(ctx context.Context, source, target *server.Database) error {
	want, err := source.Digests(ctx)
	if err != nil {
		return fmt.Errorf("list the source: %w", err)
	}
	got, err := target.Digests(ctx)
	if err != nil {
		return fmt.Errorf("list the target: %w", err)
	}
	if len(got) != len(want) {
		return fmt.Errorf("the target holds %d documents instead of %d", len(got), len(want))
	}
	var wrong error
	for id, has := range want {
		if got[id] != has {
			wrong = fmt.Errorf("%s is %q at the target and %q at the source", id, got[id], has)
		}
	}
	return errors.Join(wrong)
}
