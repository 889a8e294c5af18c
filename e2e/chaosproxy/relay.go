package chaosproxy

import (
	"net"
	"sync"
	"time"
)

// How much may be under way in one direction of a connection: the reader waits
// when the queue is full (invariant 5 holds for the tests' tools too).
const (
	chunkBytes  = 64 << 10
	chunksAhead = 256
)

// relay carries the bytes between a client and the HTTP server, each half a round
// trip after it came.
type relay struct {
	client, server net.Conn
	rtt            func() time.Duration
	once           sync.Once
	cut            chan struct{} // closed by reset
}

// chunk is bytes with the time when they reach the other end.
type chunk struct {
	data []byte
	due  time.Time
}

// run relays until both directions have ended.
func (r *relay) run() {
	var group sync.WaitGroup
	// The client's first byte waits for the handshake, which costs a round trip.
	group.Go(func() { r.carry(r.server, r.client, r.rtt()) })
	group.Go(func() { r.carry(r.client, r.server, 0) })
	group.Wait()
	_ = r.client.Close()
	_ = r.server.Close()
}

// reset ends the relay at once, seen by the client as a reset.
func (r *relay) reset() {
	r.once.Do(func() {
		close(r.cut)
		reset(r.client)
		reset(r.server)
	})
}

// carry moves what src sends to dst, and then src's end. The first chunk is late
// by extra.
func (r *relay) carry(dst, src net.Conn, extra time.Duration) {
	chunks := make(chan chunk, chunksAhead)
	var group sync.WaitGroup
	group.Go(func() {
		defer close(chunks)
		r.collect(src, chunks, extra)
	})
	r.deliver(dst, chunks)
	group.Wait()
	closeWrite(dst)
}

// collect reads src to its end.
func (r *relay) collect(src net.Conn, chunks chan<- chunk, extra time.Duration) {
	buf := make([]byte, chunkBytes)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			late := r.rtt()/2 + extra
			extra = 0
			chunks <- chunk{data: append([]byte(nil), buf[:n]...), due: time.Now().Add(late)}
		}
		if err != nil {
			return
		}
	}
}

// deliver writes the chunks when they are due. When dst takes no more it discards
// the rest instead of closing src: an early answer (413) may still be on its way
// to the one who is sending.
func (r *relay) deliver(dst net.Conn, chunks <-chan chunk) {
	broken := false
	for c := range chunks {
		if broken = broken || !r.wait(c.due); broken {
			continue
		}
		_, err := dst.Write(c.data)
		broken = err != nil
	}
}

// wait returns true when the time has come and false when the relay is cut.
func (r *relay) wait(due time.Time) bool {
	left := time.Until(due)
	if left <= 0 {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.cut:
		return false
	}
}

// closeWrite ends one direction where the connection can, else both.
func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	_ = conn.Close()
}
