package writer

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// aloneAtOnce is how many documents of a part that go in a request each are written at once.
// With four parts of a job at once they leave some of CouchDB's 20 http_connections to
// others. One chunk of an attachment of each is in memory (invariant 5).
const aloneAtOnce = 4

// alone writes the documents that go in a request each.
func (svc *Service) alone(ctx context.Context, a *apply, target *millracev1.EndpointRef, db *couch.DB, bodies *bodyReader, docs []*millracev1.MultipartDoc) error {
	plainOnly := func() (bool, error) { return svc.dialects.plainOnly(ctx, target, db) }
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(aloneAtOnce)
	for _, m := range docs {
		group.Go(func() error {
			one := &apply{db: db}
			err := one.multipart(ctx, db, plainOnly, bodies, m)
			mu.Lock()
			defer mu.Unlock()
			a.take(one)
			return err
		})
	}
	return group.Wait()
}

// take adds what another has applied.
func (a *apply) take(other *apply) {
	a.written = append(a.written, other.written...)
	a.bytes += other.bytes
	a.rejected = append(a.rejected, other.rejected...)
	a.suspects = append(a.suspects, other.suspects...)
}
