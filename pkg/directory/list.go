package directory

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	millracev1 "millrace/proto/millrace/v1"
)

// Listed is a value as it stood in its bucket when it was listed.
type Listed[M any] struct {
	ID    string
	Value *M
	// Revision of the key, for a removal that fails if it has another by then.
	Revision uint64
}

// List returns all feeds.
func (f *Feeds) List(ctx context.Context) ([]Listed[millracev1.Feed], error) {
	return f.table.list(ctx)
}

// RemoveAt is Remove for a feed that nobody has changed since it had the revision;
// otherwise the error wraps [ErrChanged].
func (f *Feeds) RemoveAt(ctx context.Context, id string, revision uint64) error {
	return f.table.removeAt(ctx, id, revision)
}

// List returns all jobs.
func (j *Jobs) List(ctx context.Context) ([]Listed[millracev1.Job], error) {
	return j.table.list(ctx)
}

// ListProgress returns the progress of all jobs.
func (j *Jobs) ListProgress(ctx context.Context) ([]Listed[millracev1.Progress], error) {
	return j.progress.list(ctx)
}

// ForgetAt is Forget for progress that nobody has stored anew since it had the revision;
// otherwise the error wraps [ErrChanged].
func (j *Jobs) ForgetAt(ctx context.Context, id string, revision uint64) error {
	return j.progress.removeAt(ctx, id, revision)
}

// list returns everything in the bucket.
func (t *table[M, P]) list(ctx context.Context) ([]Listed[M], error) {
	ctx, end, err := t.broker.Session(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	watcher, err := t.bucket.Watch(ctx, t.prefix+">", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", t.bucket.Bucket(), err)
	}
	defer watcher.Stop() //nolint:errcheck // the connection may be gone, and with it the subscription
	var all []Listed[M]
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("list bucket %s: %w", t.bucket.Bucket(), ctx.Err())
		case entry, open := <-watcher.Updates():
			if !open {
				return nil, fmt.Errorf("list bucket %s: the watch ended", t.bucket.Bucket())
			}
			if entry == nil {
				return all, nil
			}
			value, err := t.decode(entry)
			if err != nil {
				return nil, err
			}
			all = append(all, Listed[M]{entry.Key()[len(t.prefix):], value, entry.Revision()})
		}
	}
}

func (t *table[M, P]) removeAt(ctx context.Context, id string, revision uint64) error {
	err := t.remove(ctx, id, jetstream.LastRevision(revision))
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return fmt.Errorf("remove %s of bucket %s: %w", id, t.bucket.Bucket(), ErrChanged)
	}
	return err
}
