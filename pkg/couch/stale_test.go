package couch

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// forgetful is a server that answers one request on each connection, and closes the connection when the
// next one comes: the moment at which servers end idle connections.
type forgetful struct {
	net.Listener
	group sync.WaitGroup
	mu    sync.Mutex
	asked []http.Header
}

func serveForgetful(t *testing.T) *forgetful {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := &forgetful{Listener: listener}
	f.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.group.Go(func() { f.answer(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close() // ends the accepting
		f.group.Wait()
	})
	return f
}

func (f *forgetful) answer(conn net.Conn) {
	defer func() { _ = conn.Close() }() // the client sees it, or is gone
	in := bufio.NewReader(conn)
	for first := true; ; first = false {
		r, err := http.ReadRequest(in)
		if err != nil || !first {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // a cut one is not answered either
		f.mu.Lock()
		f.asked = append(f.asked, r.Header)
		f.mu.Unlock()
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			return
		}
	}
}

func TestQuestionThatAnIdleConnectionDidNotOutliveIsAskedAgainAtOnce(t *testing.T) {
	server := serveForgetful(t)
	// No retries of this package's own, with their waits.
	db := openAt(t, "http://"+server.Addr().String()+"/db", Options{Retries: -1})
	for range 3 {
		_, err := db.RevsDiff(context.Background(), []IDRevs{{ID: "a", Revs: []string{"1-x"}}})
		require.NoError(t, err)
	}
	db.Close()
	server.mu.Lock()
	defer server.mu.Unlock()
	require.Len(t, server.asked, 3)
	for _, header := range server.asked {
		require.NotContains(t, header, "Expect")
	}
}
