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

// wait waits until there is a connection and returns the context that ends with
// it. The error is ctx's, or [ErrClosed].
func (s *session) wait(ctx context.Context) (context.Context, error) {
	for {
		s.mu.Lock()
		current, back, over := s.ctx, s.back, s.over
		s.mu.Unlock()
		switch {
		case over:
			return nil, ErrClosed
		case current != nil:
			return current, ctx.Err()
		}
		select {
		case <-back:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// within waits until there is a connection and derives from ctx a context that
// ends with it. The error is ctx's, or [ErrClosed].
func (s *session) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	current, err := s.wait(ctx)
	if err != nil {
		return nil, nil, err
	}
	derived, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(current, cancel)
	return derived, func() { stop(); cancel() }, nil
}

// Session derives from ctx a context that ends with the connection, and waits for a
// connection. What the server does for one connection (a watch, for example) has to be
// asked for again in the next session: the client library notices by itself only after
// heartbeats have failed to come, ten seconds and more. The error is ctx's, or
// [ErrClosed].
func (b *Broker) Session(ctx context.Context) (context.Context, context.CancelFunc, error) {
	return b.session.within(ctx)
}
