// Package chaosproxy is a loopback HTTP proxy in front of one server, that does to
// the traffic what networks and overloaded servers do: it delays, cuts, refuses,
// answers nonsense, hangs, and loses answers to requests that were carried out.
//
// What it does is decided by rules that count requests (and, where chance is
// wanted, by a seeded generator), so a test that sends the same requests in the
// same order meets the same trouble. It also counts the requests of each kind,
// which is how a test asserts that a source is read once (invariant 4).
//
// The delay is put on the bytes of the connection (see SetRTT), the rest is done
// to requests and answers, which it otherwise passes on unchanged and at once: a
// continuous _changes feed stays continuous.
package chaosproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"millrace/e2e/delayproxy"
)

// Proxy is a running proxy. Create it with Start, end it with Close.
type Proxy struct {
	target   *url.URL
	front    *delayproxy.Proxy // between the clients and the server below
	server   *http.Server
	upstream *http.Transport
	served   chan struct{} // closed when the server's accept loop has ended

	ctx  context.Context // done when the proxy is closed
	stop context.CancelFunc

	handlers sync.WaitGroup

	mu     sync.Mutex
	closed bool
	rules  []*Active
	chance *rand.Rand
	counts map[Endpoint]*counter
}

// Start begins to proxy for the server at target (scheme, host and, if any, user;
// its path is ignored) on a loopback port of the system's choice. The seed decides
// the rules that have a Chance.
func Start(target string, seed uint64) (*Proxy, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("start chaos proxy: %w", err)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("start chaos proxy: no host in %q", u.Redacted())
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start chaos proxy: %w", err)
	}
	front, err := delayproxy.Start(inner.Addr().String())
	if err != nil {
		_ = inner.Close()
		return nil, fmt.Errorf("start chaos proxy: %w", err)
	}
	p := &Proxy{
		target: u,
		upstream: &http.Transport{
			DisableCompression:  true, // the client's Accept-Encoding is the server's business
			MaxIdleConnsPerHost: 64,
		},
		front:  front,
		served: make(chan struct{}),
		chance: rand.New(rand.NewPCG(seed, seed)),
		counts: make(map[Endpoint]*counter),
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.server = &http.Server{Handler: p.handler(), ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		defer close(p.served)
		_ = p.server.Serve(inner) // ErrServerClosed, after Close
	}()
	return p, nil
}

// Close ends the proxy: it cuts what is under way and waits for its goroutines.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.front.Close()
	err := p.server.Close()
	<-p.served
	p.handlers.Wait()
	p.upstream.CloseIdleConnections()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close chaos proxy: %w", err)
	}
	return nil
}

// URL is the address of the server as seen through the proxy, with the target's
// user and password, without a trailing slash.
func (p *Proxy) URL() string {
	u := url.URL{Scheme: "http", User: p.target.User, Host: p.front.Addr()}
	return u.String()
}

// Through is rawURL, an address on the target, led through the proxy. Its path,
// query and user stay as they are.
func (p *Proxy) Through(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("lead through chaos proxy: %w", err)
	}
	u.Scheme, u.Host = "http", p.front.Addr()
	return u.String(), nil
}

// SetRTT puts a round trip time between the clients and the server: every byte is
// delayed by half of it in each direction, and a new connection costs one more.
// Bandwidth stays unlimited. It holds from the next bytes on; zero, the start, is
// no delay.
func (p *Proxy) SetRTT(rtt time.Duration) { p.front.SetRTT(rtt) }

// Down makes the server look dead: all connections are reset, new ones too, until
// Up. The server itself hears no more of the requests that were under way.
func (p *Proxy) Down() { p.front.Down() }

// Up ends what Down began.
func (p *Proxy) Up() { p.front.Up() }

// CutAll resets the connections that are open now. New ones work.
func (p *Proxy) CutAll() { p.front.CutAll() }

// handler passes requests on, unless a rule says otherwise.
func (p *Proxy) handler() http.Handler {
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			// Path and RawPath stay: %2F in a database's name must arrive as such.
			r.Out.URL.Scheme, r.Out.URL.Host = p.target.Scheme, p.target.Host
			r.Out.Host = p.target.Host
		},
		Transport:     p.upstream,
		FlushInterval: -1, // a row of a live feed must not wait for the next
		ModifyResponse: func(res *http.Response) error {
			return exchangeOf(res.Request.Context()).answered(res)
		},
		// The only honest answer for a broken upstream or a lost answer is a cut
		// connection: a 502 would be an answer that the server never gave.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.enter() {
			panic(http.ErrAbortHandler)
		}
		defer p.handlers.Done()
		x := &exchange{proxy: p, counter: p.count(r), action: p.decide(r), client: r.Context()}
		x.serve(w, r, forward)
	})
}

// enter counts a handler that Close must wait for; false once Close has begun.
func (p *Proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.handlers.Add(1)
	}
	return !p.closed
}
