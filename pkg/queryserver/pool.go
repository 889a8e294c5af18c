package queryserver

import (
	"crypto/sha256"
	"sync"
	"time"
)

// pool keeps engines that nobody uses, oldest first, for a time.
type pool struct {
	idle time.Duration
	max  int

	mu     sync.Mutex
	free   []idleEngine
	timer  *time.Timer // of the oldest; nil while there is none
	closed bool
}

type idleEngine struct {
	key    [sha256.Size]byte
	engine *engine
	since  time.Time
}

// take returns an engine that was put with the key, or a new one.
func (p *pool) take(key [sha256.Size]byte, start func() (*engine, error)) (*engine, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	for i := len(p.free) - 1; i >= 0; i-- { // the newest, so that those too many grow old
		if p.free[i].key == key {
			e := p.free[i].engine
			p.free = append(p.free[:i], p.free[i+1:]...)
			p.mu.Unlock()
			return e, nil
		}
	}
	p.mu.Unlock()
	return start()
}

// put gives back an engine in good order.
func (p *pool) put(key [sha256.Size]byte, e *engine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		e.close()
		return
	}
	p.free = append(p.free, idleEngine{key: key, engine: e, since: time.Now()})
	if len(p.free) > p.max {
		p.drop(1)
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(p.idle, p.expire)
	}
}

// expire closes the engines that were idle for too long.
func (p *pool) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.free) && time.Since(p.free[n].since) >= p.idle {
		n++
	}
	p.drop(n)
	p.timer = nil
	if len(p.free) > 0 {
		p.timer = time.AfterFunc(p.idle-time.Since(p.free[0].since), p.expire)
	}
}

// drop closes the n oldest. The lock is held.
func (p *pool) drop(n int) {
	for _, f := range p.free[:n] {
		f.engine.close()
	}
	p.free = append(p.free[:0], p.free[n:]...)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.drop(len(p.free))
	if p.timer != nil {
		p.timer.Stop()
	}
}
