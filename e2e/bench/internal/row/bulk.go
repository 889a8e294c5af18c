package row

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"millrace/e2e/bench/internal/corpus"
	"millrace/e2e/bench/internal/server"
)

// seqInterval is how many rows of _changes share a sequence in the bare limit:
// to compute one for each row doubles the source's cost of a feed.
const seqInterval = 500

// readChanges reads the feed of a source that holds c, and discards it.
func readChanges(ctx context.Context, source *server.Database, c *corpus.Corpus) error {
	n, err := source.ReadChanges(ctx, seqInterval)
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	// A row has at least an id and a revision of 32 characters each.
	return atLeast("the feed of changes", n, int64(c.Docs)*64)
}

// readBodies reads every document of c with its history, inFlight requests at
// a time, and discards them.
func readBodies(ctx context.Context, source *server.Database, c *corpus.Corpus, inFlight int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for _, batch := range c.Batches {
		group.Go(func() error {
			n, err := source.ReadBulk(ctx, batch.Read)
			if err != nil {
				return fmt.Errorf("read documents: %w", err)
			}
			return atLeast("an answer of _bulk_get", n, batch.Bytes)
		})
	}
	return group.Wait()
}

// writeBodies writes every document of c, inFlight requests at a time.
func writeBodies(ctx context.Context, target *server.Database, c *corpus.Corpus, inFlight int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for _, batch := range c.Batches {
		group.Go(func() error {
			if err := target.WriteBulk(ctx, batch.Write); err != nil {
				return fmt.Errorf("write documents: %w", err)
			}
			return nil
		})
	}
	return group.Wait()
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
