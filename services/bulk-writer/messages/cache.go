// Package messages keeps messages of BODIES that were read last. The documents that hundreds of
// filtered jobs want stand in the same messages, a document or two of each job's in every one: without
// it each reference costs the broker the whole message.
//
// It is bounded and can be done without (invariant 6): what is forgotten is read again.
package messages

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Key names a message. Sequences begin anew when the broker's disk is lost, and ids do not.
type Key struct {
	Sequence uint64
	ID       string
}

// DefaultMemory is what a cache takes unless it is told otherwise: the messages of some batches.
const DefaultMemory = 32 << 20

// idleTime is how long a message is kept that nobody asks for.
const idleTime = 10 * time.Second

// Cache is the messages that were read last. It is safe for concurrent use. What it returns is shared,
// and must not be changed.
type Cache struct {
	memory int64

	mu      sync.Mutex
	known   map[Key]*list.Element // of *message, which are read
	recent  *list.List            // the one used last is in front
	size    int64
	flights map[Key]*flight
}

type message struct {
	key  Key
	docs []byte
	used time.Time
}

// flight is a reading under way.
type flight struct {
	done chan struct{}
	docs []byte
	err  error
	// cut says that whoever read gave up: what came of it is nobody else's.
	cut bool
}

// New returns an empty cache of at most so many bytes; 0 for [DefaultMemory].
func New(memory int64) *Cache {
	if memory <= 0 {
		memory = DefaultMemory
	}
	return &Cache{memory: memory, known: map[Key]*list.Element{}, recent: list.New(), flights: map[Key]*flight{}}
}

// Get returns a message's documents, as they are kept or as read returns them. Who asks for what is being
// read waits for that, and gets its error too; the error is ctx's own where ctx ends first.
func (c *Cache) Get(ctx context.Context, key Key, read func(context.Context) ([]byte, error)) ([]byte, error) {
	for {
		c.mu.Lock()
		if e := c.known[key]; e != nil {
			c.recent.MoveToFront(e)
			m := e.Value.(*message)
			m.used = time.Now()
			c.mu.Unlock()
			return m.docs, nil
		}
		f := c.flights[key]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			c.flights[key] = f
			c.mu.Unlock()
			return c.fly(ctx, key, f, read)
		}
		c.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !f.cut {
			return f.docs, f.err
		}
	}
}

// fly reads, and keeps what was read.
func (c *Cache) fly(ctx context.Context, key Key, f *flight, read func(context.Context) ([]byte, error)) ([]byte, error) {
	f.cut = true // unless read returns
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, key)
		if !f.cut && f.err == nil {
			c.keep(key, f.docs)
		}
		close(f.done)
	}()
	f.docs, f.err = read(ctx)
	f.cut = f.err != nil && ctx.Err() != nil
	return f.docs, f.err
}

// keep adds a message, and lets those go that were used longest ago. One that would take the place of
// many others is not kept. The cache is locked.
func (c *Cache) keep(key Key, docs []byte) {
	size := int64(len(docs))
	if size > c.memory/4 {
		return
	}
	c.known[key] = c.recent.PushFront(&message{key: key, docs: docs, used: time.Now()})
	c.size += size
	for c.size > c.memory {
		c.drop(c.recent.Back())
	}
}

func (c *Cache) drop(e *list.Element) {
	m := c.recent.Remove(e).(*message)
	delete(c.known, m.key)
	c.size -= int64(len(m.docs))
}

// Memory is how many bytes the documents in the cache have.
func (c *Cache) Memory() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// Expire lets go, until ctx ends, what nobody asks for any more: idle jobs keep nothing.
func (c *Cache) Expire(ctx context.Context) error {
	ticker := time.NewTicker(idleTime / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.expire(time.Now().Add(-idleTime))
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Cache) expire(before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.recent.Back(); e != nil && e.Value.(*message).used.Before(before); e = c.recent.Back() {
		c.drop(e)
	}
}
