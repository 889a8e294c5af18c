package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

var (
	// ErrNotFound says that a bucket has no such key.
	ErrNotFound = errors.New("no such key")
	// ErrConflict says that a key is not at the revision that was expected.
	ErrConflict = errors.New("key has been changed by another")
)

// Bucket is a key-value bucket of one kind of message. Keys are any strings;
// what stands in the broker is their [Token], so a value must contain what its
// key means. It is safe for concurrent use.
//
// Get may be answered by a replica that lags; a write with a revision is always
// judged by the newest.
type Bucket[T proto.Message] struct {
	b    *Broker
	kv   jetstream.KeyValue
	name string
	zero T
}

// OpenBucket opens one of the installation's buckets (see [Broker.Buckets]).
func OpenBucket[T proto.Message](ctx context.Context, b *Broker, name string) (*Bucket[T], error) {
	k := &Bucket[T]{b: b, name: name}
	err := b.insist(ctx, func(ctx context.Context) (err error) {
		k.kv, err = b.js.KeyValue(ctx, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return k, nil
}

// Get returns a value and its revision. The error is [ErrNotFound] when there is
// none.
func (k *Bucket[T]) Get(ctx context.Context, key string) (T, uint64, error) {
	e, err := k.kv.Get(ctx, Token(key))
	if err != nil {
		return k.zero, 0, k.wrap("read", key, err)
	}
	v, err := k.decode(e.Value())
	return v, e.Revision(), err
}

// Put writes a value whatever is there and returns its revision.
func (k *Bucket[T]) Put(ctx context.Context, key string, v T) (uint64, error) {
	return k.write(key, v, func(data []byte) (uint64, error) { return k.kv.Put(ctx, Token(key), data) })
}

// Create writes a value where there is none; else the error is [ErrConflict].
func (k *Bucket[T]) Create(ctx context.Context, key string, v T) (uint64, error) {
	return k.write(key, v, func(data []byte) (uint64, error) { return k.kv.Create(ctx, Token(key), data) })
}

// Update replaces the value that has a revision; [ErrConflict] when it has
// another by now.
func (k *Bucket[T]) Update(ctx context.Context, key string, v T, revision uint64) (uint64, error) {
	return k.write(key, v, func(data []byte) (uint64, error) { return k.kv.Update(ctx, Token(key), data, revision) })
}

// Delete removes a key at a revision, or at any with 0. That there is none is no
// error.
func (k *Bucket[T]) Delete(ctx context.Context, key string, revision uint64) error {
	var options []jetstream.KVDeleteOpt
	if revision != 0 {
		options = append(options, jetstream.LastRevision(revision))
	}
	// A purge with a time to live leaves a mark for the watchers, which goes by
	// itself.
	options = append(options, jetstream.PurgeTTL(markerTTL))
	if err := k.kv.Purge(ctx, Token(key), options...); err != nil {
		return k.wrap("delete", key, err)
	}
	return nil
}

func (k *Bucket[T]) write(key string, v T, write func([]byte) (uint64, error)) (uint64, error) {
	data, err := proto.Marshal(v)
	if err != nil {
		return 0, k.wrap("encode", key, err)
	}
	revision, err := write(data)
	if err != nil {
		return 0, k.wrap("write", key, err)
	}
	return revision, nil
}

func (k *Bucket[T]) decode(data []byte) (T, error) {
	v, ok := k.zero.ProtoReflect().New().Interface().(T)
	if !ok {
		return k.zero, fmt.Errorf("bucket %s: no message can be made of %T", k.name, k.zero)
	}
	if err := proto.Unmarshal(data, v); err != nil {
		return k.zero, fmt.Errorf("bucket %s: %w", k.name, err)
	}
	return v, nil
}

func (k *Bucket[T]) wrap(doing, key string, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		err = ErrNotFound
	case errors.Is(err, jetstream.ErrKeyExists), judge(err) == verdictFenced:
		err = fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return fmt.Errorf("%s %q in bucket %s: %w", doing, key, k.name, err)
}

// Change is one change of a bucket.
type Change[T proto.Message] struct {
	// Token of the key; the key itself is not kept.
	Token    string
	Revision uint64
	// Deleted keys have no Value.
	Deleted bool
	Value   T
	// Current is true on the one Change, otherwise empty, that follows
	// everything that was there when the watch began.
	Current bool
}

// Watcher follows a bucket's changes. It is not safe for concurrent use.
type Watcher[T proto.Message] struct {
	k       *Bucket[T]
	updates jetstream.KeyWatcher
	last    uint64
	current bool
}

// Watch follows all keys: first what is there, then [Change.Current], then what
// changes.
func (k *Bucket[T]) Watch(ctx context.Context) (*Watcher[T], error) {
	w := &Watcher[T]{k: k}
	if err := w.begin(ctx); err != nil {
		return nil, fmt.Errorf("watch bucket %s: %w", k.name, err)
	}
	return w, nil
}

// begin watches from the newest change seen on. The watch itself survives a lost
// connection; this is for when it ends nevertheless.
func (w *Watcher[T]) begin(ctx context.Context) error {
	var options []jetstream.WatchOpt
	if w.last > 0 {
		options = append(options, jetstream.ResumeFromRevision(w.last+1))
	}
	return w.k.b.insist(ctx, func(ctx context.Context) (err error) {
		w.updates, err = w.k.kv.WatchAll(context.WithoutCancel(ctx), options...)
		return err
	})
}

// Next waits for a change until ctx ends. A value that cannot be read is an
// error that names its token, and the next call goes on behind it.
func (w *Watcher[T]) Next(ctx context.Context) (Change[T], error) {
	for {
		select {
		case e, ok := <-w.updates.Updates():
			switch {
			case !ok:
				if err := w.begin(ctx); err != nil {
					return Change[T]{}, fmt.Errorf("watch bucket %s: %w", w.k.name, err)
				}
			case e != nil:
				return w.change(e)
			case !w.current: // said again after a new beginning
				w.current = true
				return Change[T]{Current: true}, nil
			}
		case <-ctx.Done():
			return Change[T]{}, ctx.Err()
		}
	}
}

func (w *Watcher[T]) change(e jetstream.KeyValueEntry) (Change[T], error) {
	w.last = e.Revision()
	c := Change[T]{Token: strings.Clone(e.Key()), Revision: e.Revision(), Deleted: e.Operation() != jetstream.KeyValuePut}
	if c.Deleted {
		return c, nil
	}
	var err error
	if c.Value, err = w.k.decode(e.Value()); err != nil {
		return c, fmt.Errorf("key %s: %w", c.Token, err)
	}
	return c, nil
}

// Close ends the watch.
func (w *Watcher[T]) Close() error {
	if err := w.updates.Stop(); err != nil {
		return fmt.Errorf("end watch of bucket %s: %w", w.k.name, err)
	}
	return nil
}
