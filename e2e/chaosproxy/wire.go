package chaosproxy

import (
	"net"
	"sync"
	"time"
)

// wire is what lies between the clients and the proxy's HTTP server: it takes the
// clients' connections and relays their bytes, late by the round trip time. It
// can cut them all.
type wire struct {
	listener net.Listener // towards the clients
	server   string       // address of the HTTP server
	rtt      func() time.Duration

	mu     sync.Mutex
	down   bool
	closed bool
	open   map[*relay]struct{}
	group  sync.WaitGroup // the accept loop and the relays
}

func newWire(listener net.Listener, server string, rtt func() time.Duration) *wire {
	w := &wire{listener: listener, server: server, rtt: rtt, open: make(map[*relay]struct{})}
	w.group.Go(w.accept)
	return w
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		if !w.admit(client) {
			reset(client)
		}
	}
}

// admit starts a relay for the client, unless the server is to look dead.
func (w *wire) admit(client net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down || w.closed {
		return false
	}
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		return false
	}
	r := &relay{client: client, server: server, rtt: w.rtt, cut: make(chan struct{})}
	w.open[r] = struct{}{}
	w.group.Go(func() {
		r.run()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, r)
	})
	return true
}

func (w *wire) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	if down {
		w.cutLocked()
	}
}

func (w *wire) cutAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutLocked()
}

func (w *wire) cutLocked() {
	for r := range w.open {
		r.reset()
	}
}

// close ends everything and waits for it.
func (w *wire) close() {
	_ = w.listener.Close()
	w.mu.Lock()
	w.closed = true
	w.cutLocked()
	w.mu.Unlock()
	w.group.Wait()
}

// reset closes a connection so that the peer sees a reset rather than an orderly
// end: a dead process, not a polite one.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
