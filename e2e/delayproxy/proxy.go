// Package delayproxy puts a distance between processes of one machine: a TCP proxy
// in front of one server that hands on every byte half a round trip late, in each
// direction, and does not limit bandwidth. It reads nothing of what it carries: HTTP
// or a broker's protocol are the same to it.
//
// It is kinder than a real network in one way: there is no congestion window that
// has to open first.
package delayproxy

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy is a running proxy. Create it with [Start], end it with [Proxy.Close].
type Proxy struct {
	listener net.Listener // towards the clients
	server   string       // address of the server
	rtt      atomic.Int64 // nanoseconds

	mu     sync.Mutex
	down   bool
	closed bool
	open   map[*relay]struct{}
	group  sync.WaitGroup // the accept loop and the relays
}

// Start begins to proxy for the server at an address (host:port), on a loopback port
// of the system's choice, without a delay. The server need not be there yet.
func Start(server string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start delay proxy: %w", err)
	}
	p := &Proxy{listener: listener, server: server, open: make(map[*relay]struct{})}
	p.group.Go(p.accept)
	return p, nil
}

// Addr is where clients find the server, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetRTT puts a round trip time between the clients and the server: every byte is
// delayed by half of it in each direction, and a new connection costs one more. It
// holds from the next bytes on; zero, the start, is no delay.
func (p *Proxy) SetRTT(rtt time.Duration) { p.rtt.Store(int64(rtt)) }

// Down makes the server look dead: all connections are reset, new ones too, until
// [Proxy.Up]. The server itself hears no more on those that were open.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	p.cutLocked()
}

// Up ends what [Proxy.Down] began.
func (p *Proxy) Up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// CutAll resets the connections that are open now. New ones work.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

// Close cuts what is open and waits for the proxy's goroutines.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.cutLocked()
	p.mu.Unlock()
	p.group.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		if !p.admit(client) {
			reset(client)
		}
	}
}

// admit starts a relay for the client, unless the server is to look dead, or is.
func (p *Proxy) admit(client net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || p.closed {
		return false
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return false
	}
	r := newRelay(client, server, func() time.Duration { return time.Duration(p.rtt.Load()) })
	p.open[r] = struct{}{}
	p.group.Go(func() {
		r.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, r)
	})
	return true
}

func (p *Proxy) cutLocked() {
	for r := range p.open {
		r.reset()
	}
}

// reset closes a connection so that the peer sees a reset rather than an orderly
// end: a dead process, not a polite one.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
