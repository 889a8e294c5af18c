package millpond

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// shutdownTime is how long Listener.Close lets requests finish.
const shutdownTime = 5 * time.Second

// Listener serves a Server on a TCP address.
type Listener struct {
	// URL is the address to give to clients, such as "http://127.0.0.1:5984".
	URL string

	server *Server
	http   *http.Server
	done   chan error
}

// Listen serves on a host and port; port 0 takes a free one. The caller closes
// the Listener, and need not close the Server then.
func (s *Server) Listen(addr string) (*Listener, error) {
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("millpond: listen: %w", err)
	}
	l := &Listener{
		URL: "http://" + tcp.Addr().String(), server: s, done: make(chan error, 1),
		http: &http.Server{Handler: s, ReadHeaderTimeout: time.Minute},
	}
	go func() { l.done <- l.http.Serve(tcp) }()
	return l, nil
}

// Close ends the feeds, lets other requests finish for some seconds, and frees
// the address.
func (l *Listener) Close() error {
	l.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	err := l.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = l.http.Close()
	}
	if served := <-l.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
