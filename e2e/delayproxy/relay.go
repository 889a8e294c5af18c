package delayproxy

import (
	"net"
	"sync"
	"time"
)

const (
	// readBytes is how much is read at a time.
	readBytes = 64 << 10
	// aheadBytes is how much may be under way in one direction of a connection: the
	// reader waits when it is. At a round trip of 100 ms that is over 1 GB/s, so it
	// bounds memory and not bandwidth.
	aheadBytes = 64 << 20
)

// relay carries the bytes between a client and the server, each half a round trip
// after it came.
type relay struct {
	client, server net.Conn
	rtt            func() time.Duration
	once           sync.Once
	cut            chan struct{} // closed by reset
}

func newRelay(client, server net.Conn, rtt func() time.Duration) *relay {
	return &relay{client: client, server: server, rtt: rtt, cut: make(chan struct{})}
}

// run relays until both directions have ended.
//
// The handshake costs a round trip: what the client says at once reaches the server
// after one and a half, what the server says unasked reaches the client after two.
func (r *relay) run() {
	opened, rtt := time.Now(), r.rtt()
	var group sync.WaitGroup
	group.Go(func() { r.carry(r.server, r.client, opened.Add(rtt*3/2)) })
	group.Go(func() { r.carry(r.client, r.server, opened.Add(rtt*2)) })
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

// carry moves what src sends to dst, none of it before earliest, and then src's end.
func (r *relay) carry(dst, src net.Conn, earliest time.Time) {
	q := newQueue(aheadBytes)
	var group sync.WaitGroup
	group.Go(func() {
		defer q.end()
		r.collect(src, q, earliest)
	})
	r.deliver(dst, q)
	group.Wait()
	closeWrite(dst)
}

// collect reads src to its end.
func (r *relay) collect(src net.Conn, q *queue, earliest time.Time) {
	buf := make([]byte, readBytes)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			due := time.Now().Add(r.rtt() / 2)
			if due.Before(earliest) {
				due = earliest
			}
			q.push(chunk{data: append([]byte(nil), buf[:n]...), due: due})
		}
		if err != nil {
			return
		}
	}
}

// deliver writes the chunks when they are due. When dst takes no more it discards
// the rest instead of closing src: an early answer (413) may still be on its way
// to the one who is sending.
func (r *relay) deliver(dst net.Conn, q *queue) {
	broken := false
	for {
		c, more := q.next()
		if !more {
			return
		}
		if broken = broken || !r.wait(c.due); !broken {
			_, err := dst.Write(c.data)
			broken = err != nil
		}
		q.drop()
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
