// Package directory is what the services know of jobs and feeds: the buckets
// that the replicator writes, kept in memory by watching them.
//
// What is in memory may be a moment old. Whoever has been told of a newer state
// asks for at least that one, and the bucket itself is then read.
package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/pause"
)

// ErrUnknown is wrapped by the errors for a key that is not in the bucket.
var ErrUnknown = errors.New("not in the directory")

// ErrChanged is wrapped by the error of an update that somebody else was faster with.
var ErrChanged = errors.New("changed meanwhile")

// watchAgain is the wait before a watch that failed is begun again.
const watchAgain = 250 * time.Millisecond

// markTTL is how long the mark of a removed key stays, for watchers that are away.
const markTTL = time.Hour

// message is a pointer to M that is a protobuf message.
type message[M any] interface {
	*M
	proto.Message
}

// table is a bucket's keys with a prefix, typed. Its messages are shared: they
// must not be changed.
type table[M any, P message[M]] struct {
	bucket jetstream.KeyValue
	prefix string
	broker *broker.Broker

	mu   sync.RWMutex
	rows map[string]row[P]
}

type row[P any] struct {
	value    P
	revision uint64
}

func newTable[M any, P message[M]](b *broker.Broker, bucket jetstream.KeyValue, prefix string) *table[M, P] {
	return &table[M, P]{bucket: bucket, prefix: prefix, broker: b, rows: map[string]row[P]{}}
}

func (t *table[M, P]) key(id string) string { return t.prefix + id }

// watch keeps the table like the bucket until ctx ends. changed is called for each
// key and each change of one, with nil for a key that went; it may be nil.
func (t *table[M, P]) watch(ctx context.Context, changed func(id string, value P)) error {
	if changed == nil {
		changed = func(string, P) {}
	}
	told := map[string]uint64{} // revisions that changed knows of
	for first := true; ; first = false {
		session, end, err := t.broker.Session(ctx)
		if err != nil {
			return unlessOver(ctx, err)
		}
		err = t.follow(session, told, changed)
		lost := session.Err() != nil
		end()
		switch {
		case ctx.Err() != nil:
			return nil
		case lost:
			continue
		case first:
			return fmt.Errorf("watch bucket %s: %w", t.bucket.Bucket(), err)
		}
		// A broker that has just come back may not serve the bucket yet.
		if err := pause.For(ctx, watchAgain); err != nil {
			return nil
		}
	}
}

// follow is watch for as long as there is a connection.
func (t *table[M, P]) follow(ctx context.Context, told map[string]uint64, changed func(id string, value P)) error {
	watcher, err := t.bucket.Watch(ctx, t.prefix+">")
	if err != nil {
		return err
	}
	defer watcher.Stop()       //nolint:errcheck // the connection may be gone, and with it the subscription
	there := map[string]bool{} // until everything that is there at the start has come
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return errors.New("the watch ended")
			case entry == nil:
				t.forgetOthers(there, told, changed)
				there = nil
				continue
			}
			id := entry.Key()[len(t.prefix):]
			if there != nil {
				there[id] = true
			}
			value, err := t.decode(entry)
			if err != nil {
				return err
			}
			if told[id] == entry.Revision() {
				continue // known from the session before
			}
			t.keep(id, value, entry.Revision())
			told[id] = entry.Revision()
			if value == nil {
				delete(told, id)
			}
			changed(id, value)
		}
	}
}

// forgetOthers removes the keys that went while nobody watched, and whose mark went, too.
func (t *table[M, P]) forgetOthers(there map[string]bool, told map[string]uint64, changed func(id string, value P)) {
	for id := range told {
		if there[id] {
			continue
		}
		t.keep(id, nil, 0)
		delete(told, id)
		changed(id, nil)
	}
}

func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// decode reads an entry's value; it is nil for a key that went.
func (t *table[M, P]) decode(entry jetstream.KeyValueEntry) (P, error) {
	if entry.Operation() != jetstream.KeyValuePut {
		return nil, nil
	}
	return t.unmarshal(entry.Key(), entry.Value())
}

func (t *table[M, P]) unmarshal(key string, data []byte) (P, error) {
	value := P(new(M))
	if err := proto.Unmarshal(data, value); err != nil {
		return nil, fmt.Errorf("decode %s of bucket %s: %w", key, t.bucket.Bucket(), err)
	}
	return value, nil
}

// keep puts what the watch says into the table. Nobody else does: what was read from the
// bucket may be overtaken by the watch, and a key that went would come back for ever.
func (t *table[M, P]) keep(id string, value P, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if value == nil {
		delete(t.rows, id)
		return
	}
	t.rows[id] = row[P]{value, revision}
}

func (t *table[M, P]) cached(id string) (P, uint64, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, ok := t.rows[id]
	return r.value, r.revision, ok
}

// all iterates over what was known when it was asked for.
func (t *table[M, P]) all() iter.Seq[P] {
	t.mu.RLock()
	values := make([]P, 0, len(t.rows))
	for _, r := range t.rows {
		values = append(values, r.value)
	}
	t.mu.RUnlock()
	return slices.Values(values)
}

// read reads the bucket itself. A replica that is behind may answer, but not that the key
// is not there: what follows from that is not mended by reading again.
func (t *table[M, P]) read(ctx context.Context, id string) (P, uint64, error) {
	entry, err := t.bucket.Get(ctx, t.key(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return t.newest(ctx, id)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read %s of bucket %s: %w", id, t.bucket.Bucket(), err)
	}
	value, err := t.decode(entry)
	return value, entry.Revision(), err
}

// newest reads what the bucket's leader has. A replica may lack what is new, and still
// have what went.
func (t *table[M, P]) newest(ctx context.Context, id string) (P, uint64, error) {
	name := t.bucket.Bucket()
	e, err := t.broker.Last(ctx, "KV_"+name, "$KV."+name+"."+t.key(id))
	if errors.Is(err, broker.ErrGone) || (err == nil && e.Removed()) {
		return nil, 0, fmt.Errorf("%s of bucket %s: %w", id, name, ErrUnknown)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read %s of bucket %s: %w", id, name, err)
	}
	value, err := t.unmarshal(t.key(id), e.Data)
	return value, e.Sequence, err
}

// write puts the value if the key has the revision; revision 0 means that the key
// is not there. The error wraps [ErrChanged] when it has another.
func (t *table[M, P]) write(ctx context.Context, id string, value P, revision uint64) (uint64, error) {
	payload, err := proto.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("encode %s of bucket %s: %w", id, t.bucket.Bucket(), err)
	}
	next, err := t.broker.WriteKey(ctx, t.bucket.Bucket(), t.key(id), payload, revision)
	if errors.Is(err, broker.ErrFenced) {
		return 0, fmt.Errorf("write %s of bucket %s: %w", id, t.bucket.Bucket(), ErrChanged)
	}
	return next, err
}

func (t *table[M, P]) remove(ctx context.Context, id string, when ...jetstream.KVDeleteOpt) error {
	// The mark that the key leaves for watchers goes by itself.
	err := t.bucket.Purge(ctx, t.key(id), append(when, jetstream.PurgeTTL(markTTL))...)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("remove %s of bucket %s: %w", id, t.bucket.Bucket(), err)
	}
	return nil
}

// put stores the value whatever is there.
func (t *table[M, P]) put(ctx context.Context, id string, value P) error {
	payload, err := proto.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s of bucket %s: %w", id, t.bucket.Bucket(), err)
	}
	_, err = t.broker.PutKey(ctx, t.bucket.Bucket(), t.key(id), payload)
	return err
}
