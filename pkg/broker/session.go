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
	over bool          // there will be none again
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

// finish ends the session for good.
func (s *session) finish() {
	s.lose()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	close(s.back)
}

// within waits until there is a connection and derives from ctx one that ends
// with it. The error is ctx's, or [ErrClosed].
func (s *session) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	for {
		s.mu.Lock()
		current, back, over := s.ctx, s.back, s.over
		s.mu.Unlock()
		if over {
			return nil, nil, ErrClosed
		}
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
