package broker

import (
	"context"
	"sync"
)

// session tells those who wait for something from the broker that the
// connection was lost: what they asked for will not come any more, because the
// server forgets requests with the connection.
type session struct {
	mu   sync.Mutex
	ctx  context.Context // ends with the connection; nil while there is none
	end  context.CancelFunc
	back chan struct{} // closed when there is one again; nil while there is one
}

// begin starts a session: the connection stands.
func (s *session) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		s.end()
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	if s.back != nil {
		close(s.back)
		s.back = nil
	}
}

// lose ends the session.
func (s *session) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		s.end()
	}
	s.ctx, s.end = nil, nil
	if s.back == nil {
		s.back = make(chan struct{})
	}
}

// within waits until there is a connection and derives from ctx one that ends
// with it. The error is ctx's.
func (s *session) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	for {
		s.mu.Lock()
		current, back := s.ctx, s.back
		s.mu.Unlock()
		if current != nil {
			derived, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(current, cancel)
			return derived, func() { stop(); cancel() }, ctx.Err()
		}
		select {
		case <-back:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}
