package broker_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a client and a server, and keeps the server's answers back when it
// is told to.
type proxy struct {
	listener net.Listener
	target   string
	deaf     atomic.Bool            // the server's answers are dropped
	after    atomic.Pointer[string] // when the client sends this, they are from then on
	all      sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, target: target}
	p.all.Go(p.serve)
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.all.Go(func() { _, _ = io.Copy(ear{p, server}, client); _ = server.Close() })
		p.all.Go(func() { _, _ = io.Copy(sieve{p, client}, server); _ = client.Close() })
	}
}

// deafAfter makes it keep back the answer to what the client sends next that contains what.
func (p *proxy) deafAfter(what string) { p.after.Store(&what) }

// hear ends that, on a new connection.
func (p *proxy) hear() {
	p.deaf.Store(false)
	p.cut()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

type sieve struct {
	p  *proxy
	to io.Writer
}

func (s sieve) Write(b []byte) (int, error) {
	if s.p.deaf.Load() {
		return len(b), nil
	}
	return s.to.Write(b)
}

type ear struct {
	p  *proxy
	to io.Writer
}

func (e ear) Write(b []byte) (int, error) {
	if what := e.p.after.Load(); what != nil && bytes.Contains(b, []byte(*what)) {
		e.p.after.Store(nil)
		e.p.deaf.Store(true)
	}
	return e.to.Write(b)
}
