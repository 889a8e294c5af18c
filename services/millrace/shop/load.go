package shop

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/couch"
)

const (
	// docsPerRequest makes requests of about half a megabyte, which a server takes
	// cheapest.
	docsPerRequest = 500
	// concurrentRequests keep a server busy without queueing in it.
	concurrentRequests = 4
)

// Load writes the shop into the database, and says what it wrote. It calls progress, one
// call at a time, with how many documents are written so far. The error is couch's: of a
// request, or of the first document that the database refused.
func (s *Shop) Load(ctx context.Context, db *couch.DB, progress func(docs int)) (Census, error) {
	var mu sync.Mutex
	var total Census
	group, loading := errgroup.WithContext(ctx)
	group.SetLimit(concurrentRequests)
	for first := 0; first < s.docs && loading.Err() == nil; first += docsPerRequest {
		group.Go(func() error {
			written, err := s.loadSome(loading, db, first, min(first+docsPerRequest, s.docs))
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(written)
			progress(total.Documents)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return total, fmt.Errorf("load the shop into %s: %w", db, err)
	}
	return total, context.Cause(ctx)
}

// loadSome writes the documents from first up to, not including, end.
func (s *Shop) loadSome(ctx context.Context, db *couch.DB, first, end int) (Census, error) {
	var c Census
	leaves := make([][]byte, 0, end-first)
	for i := first; i < end; i++ {
		d := s.Document(i)
		c.count(d)
		leaves = append(leaves, d.Leaves...)
	}
	results, err := db.BulkDocs(ctx, leaves, couch.BulkDocsOptions{})
	if err != nil {
		return c, err
	}
	for _, r := range results {
		if err := r.Failure(); err != nil {
			return c, err
		}
	}
	return c, nil
}
