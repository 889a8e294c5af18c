package delayproxy

import (
	"sync"
	"time"
)

// chunk is bytes with the time when they reach the other end.
type chunk struct {
	data []byte
	due  time.Time
}

// queue is what is under way in one direction of a connection, in order. It is
// limited by bytes, not by chunks: a sender of small ones gets as many through.
type queue struct {
	limit int // bytes

	mu      sync.Mutex
	changed sync.Cond
	chunks  []chunk
	bytes   int
	ended   bool
}

func newQueue(limit int) *queue {
	q := &queue{limit: limit}
	q.changed.L = &q.mu
	return q
}

// push adds a chunk, after waiting while the queue is full. One chunk is let in
// whatever its size.
func (q *queue) push(c chunk) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes > 0 && q.bytes+len(c.data) > q.limit {
		q.changed.Wait()
	}
	q.chunks = append(q.chunks, c)
	q.bytes += len(c.data)
	q.changed.Broadcast()
}

// end says that nothing more will be pushed.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.changed.Broadcast()
}

// next waits for a chunk and returns it without removing it, so that it counts
// until [queue.drop]. It is false when the last one has been dropped and the queue
// has ended.
func (q *queue) next() (chunk, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.chunks) == 0 && !q.ended {
		q.changed.Wait()
	}
	if len(q.chunks) == 0 {
		return chunk{}, false
	}
	return q.chunks[0], true
}

// drop removes the chunk that next returned.
func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= len(q.chunks[0].data)
	q.chunks[0] = chunk{} // let go of the bytes
	q.chunks = q.chunks[1:]
	q.changed.Broadcast()
}
